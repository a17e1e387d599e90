"""Language models behind OpenAI-compatible addresses: what may be sent there, how it is asked, what is kept."""
