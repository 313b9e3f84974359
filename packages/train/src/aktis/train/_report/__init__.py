"""What a person sees of a training run: what is recorded of it, the page made from that, and the display while it goes on."""
