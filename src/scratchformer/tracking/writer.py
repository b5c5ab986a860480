"""The writer process."""
import sys

if __name__ == "__main__":
    for _ in sys.stdin:
        pass
