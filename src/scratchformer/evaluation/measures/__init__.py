"""Where the sums of the measures come from; the measures themselves stand in base/measures.py,
because the rooms below evaluation (record, tracking, training) read them too."""
