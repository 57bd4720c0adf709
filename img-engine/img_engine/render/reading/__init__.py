"""From an upload's file to judged headers and decoded frames."""
