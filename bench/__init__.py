"""The benchmark of fastloss: `python -m bench`. What it measures, and how: bench/README.md."""
