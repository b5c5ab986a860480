"""Hyper-parameter search over either training; Optuna proposes, the stages train.

    space       the file that says what is tried: keys of params.yaml and their values
    study       the record of all trials, kept by Optuna in a journal file or a database
    runs/       one training: the folder in which it runs, its rows, its process
    trial       a trial is claimed, trained, reported; one of a dead process is taken up again
    confirmation  the best settings trained again with fresh seeds, and what that shows
    pool        several processes at once, and the table that a person watches
    report/     the page of a search: its figures, and which keys matter
    ladder/     the same recipe at four sizes, and what ten times the compute should reach
    mirror      a search in MLflow, read from its record; `watching` starts it now and then
"""
