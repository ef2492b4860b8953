"""Speed and memory of saltation beside other libraries, measured in one run. See ``__main__``."""
