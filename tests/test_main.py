import gc

from noisereg.__main__ import _load_run


def test_training_is_loaded_once_a_process_and_garbage_is_searched_for_afterwards():
    run = _load_run()
    frozen = gc.get_freeze_count()
    garbage = [[number] for number in range(1000)]
    assert _load_run() is run
    assert gc.get_freeze_count() == frozen
    assert gc.isenabled() and len(garbage) == 1000
