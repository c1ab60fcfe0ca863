"""The live page: what the cameras see, what was found, and what stage 2 says of it, in a browser."""
