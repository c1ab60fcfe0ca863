"""Other ways of running the same networks, measured in the same run as ours; each is optional."""
