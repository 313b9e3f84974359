"""Groups of workers that are alike: actors in the order of their ranks, in which any function can be run.

::

    group = WorkerGroup(num_workers=4, resources_per_worker={"CPU": 1})
    group.execute(socket.gethostname)                  # in all of them, one result each
    group.execute_single(0, os.getpid)                 # in the first
    group.execute_ranked(lambda rank, n: rank / n, 4)  # the rank comes first
    group.shutdown()
"""
