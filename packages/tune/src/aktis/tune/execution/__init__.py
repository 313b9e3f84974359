"""Where Ray has what runs trials. Here that is private; what programs import from it is in these modules."""
