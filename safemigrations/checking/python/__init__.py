"""Functions that people write for RunPython, read as syntax trees and never called."""
