"""The parts of report pages: charts as SVG, the style sheet and the script that every page carries."""
