"""`profile`: a stock vLLM records its own steps while the real client measures it; what `train` learns from."""
