"""What is asked before the first step of a run: what would stop one of its plans?"""
