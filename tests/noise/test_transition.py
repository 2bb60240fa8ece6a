import pytest

from noisereg.noise import Transition


def test_moves_send_a_class_to_another_and_leave_the_rest():
    transition = Transition(p=0.4, moves={9: 1, 2: 0, 3: 5, 5: 3, 4: 7}).transition(10)
    assert transition[9, 1].item() == transition[3, 5].item() == transition[5, 3].item() == 0.4
    assert transition[9, 9].item() == 0.6
    assert transition[0, 0].item() == 1
    assert Transition(p=0.4, moves={9: 1, 2: 0, 3: 5, 5: 3, 4: 7}).effective_rate(10) == pytest.approx(0.2)


def test_a_full_matrix_at_p_one_is_the_transition_itself():
    matrix = [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
    assert Transition(p=1.0, matrix=matrix).transition(3).tolist() == matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.0]], "matrix must be square: it has 1 rows, but row 0 has 2 entries"),
        ([[0.5, 0.4], [0, 1]], "sum to 1, row 0 is"),
        ([[1, 0], [1.5, -0.5]], "sum to 1, row 1 is"),
        ([[1, 0], [float("nan"), 1]], "sum to 1, row 1 is"),
    ],
)
def test_a_matrix_that_is_no_transition_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        Transition(p=0.1, matrix=matrix)


def test_a_matrix_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="matrix has 2 rows, but the labels have 10 classes"):
        Transition(p=0.1, matrix=[[1, 0], [0, 1]]).transition(10)


def test_moves_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match="moves must stay within classes 0 to 1, got 9 -> 1"):
        Transition(p=0.1, moves={9: 1}).transition(2)


@pytest.mark.parametrize("options", [{}, {"matrix": [[1, 0], [0, 1]], "moves": {0: 1}}])
def test_exactly_one_of_matrix_and_moves_is_asked_for(options):
    with pytest.raises(ValueError, match="give either matrix or moves"):
        Transition(p=0.1, **options)


@pytest.mark.parametrize("moves", [{"0": 1}, {0: "1"}, {0: 1.0}, {0: None}, {True: 0}])
def test_moves_between_what_is_no_class_are_refused(moves):
    with pytest.raises(ValueError, match=r"^moves must map whole numbers to whole numbers, got "):
        Transition(p=0.1, moves=moves)
