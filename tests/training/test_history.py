"""The history of a training, as a table and as a picture."""

import io
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from mirex_submission.training.history import as_csv, draw, write_tensorboard


def epochs(n, *, loss=1.5):
    return [{"loss": loss / (k + 1), "accuracy": 1 - 0.5 / (k + 1)} for k in range(n)]


def pixels(png):
    """[height, width, 3] of a PNG file, from 0 to 1."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return matplotlib.image.imread(io.BytesIO(png), format="png")[:, :, :3]


def colours(png):
    """How many pixels are of matplotlib's first three colours: [n blue, n orange, n green]."""
    rgb = np.array([[0x1F, 0x77, 0xB4], [0xFF, 0x7F, 0x0E], [0x2C, 0xA0, 0x2C]]) / 255
    return [int((np.abs(pixels(png) - colour).max(axis=2) < 0.01).sum()) for colour in rgb]


def test_the_table_has_a_line_for_every_epoch_of_every_network():
    history = {
        "1": [{"loss": 1.5, "accuracy": 0.25}, {"loss": 0.1 + 0.2, "accuracy": 1.0}],
        "3": [{"loss": 1e-05, "accuracy": 2 / 3}],
    }
    assert as_csv(history) == (
        "model,epoch,loss,accuracy\n"
        "1,1,1.5,0.25\n"
        "1,2,0.30000000000000004,1.0\n"
        "3,1,1e-05,0.6666666666666666\n"
    )  # fmt: skip


def test_the_table_has_the_figures_of_held_out_tracks_where_there_are_any():
    history = {"2": [{"loss": 1.5, "accuracy": 0.25, "validation_loss": 2.5, "validation_accuracy": 0.125}]}
    assert as_csv(history) == "model,epoch,loss,accuracy,validation_loss,validation_accuracy\n2,1,1.5,0.25,2.5,0.125\n"


def test_held_out_tracks_have_curves_of_their_own():
    plain = epochs(20)
    both = [{**epoch, "validation_loss": 3.0, "validation_accuracy": 0.1} for epoch in plain]
    assert colours(draw({"2": both}))[0] > 1.3 * colours(draw({"2": plain}))[0]


def test_the_table_without_epochs_is_its_first_line():
    assert as_csv({}) == as_csv({"2": []}) == "model,epoch,loss,accuracy\n"


def test_a_picture_has_a_curve_for_every_network():
    one = colours(draw({"2": epochs(20)}))
    three = colours(draw({name: epochs(20, loss=float(name)) for name in ("1", "2", "3")}))
    assert one[0] > 200 and one[1:] == [0, 0]
    assert min(three) > 200


def test_equal_histories_give_equal_bytes_and_others_give_others():
    assert draw({"2": epochs(20)}) == draw({"2": epochs(20)})
    assert len({draw({"2": epochs(20)}), draw({"2": epochs(19)}), draw({"2": epochs(20, loss=3.0)})}) == 3


def without_legend(png):
    """The pixels of the lower axes, which have no legend that would be blue in any case."""
    height = len(pixels(png))
    rgb = np.array([0x1F, 0x77, 0xB4]) / 255
    return int((np.abs(pixels(png)[height // 2 :] - rgb).max(axis=2) < 0.01).sum())


@pytest.mark.parametrize("n", [1, 2, 150])
def test_the_curves_of_any_length_are_visible(n):
    assert without_legend(draw({"2": epochs(n)})) > 5


@pytest.mark.filterwarnings("ignore:Data has no positive values")
@pytest.mark.parametrize("loss", [0.0, 1e-12, 1e6])
def test_no_loss_is_too_small_or_too_large_to_draw(loss):
    assert pixels(draw({"2": epochs(20, loss=loss), "3": epochs(1, loss=loss)})).shape == (600, 800, 3)


def test_history_loads_no_keras():
    program = (
        "import sys; from mirex_submission.training.history import as_csv, draw, write_tensorboard;"
        "history = {'1': [{'loss': 1.0, 'accuracy': 0.5}] * 3};"
        "as_csv(history); print('matplotlib' in sys.modules); draw(history);"
        "print(*(name for name in ('keras', 'tensorflow', 'jax', 'torch', 'matplotlib.pyplot') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["False", ""]


def test_tensorboard_reads_every_epoch_of_every_network(tmp_path):
    tf = pytest.importorskip("tensorflow")
    history = {
        "1": [{"loss": 1.5, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.75}],
        "3": [{"loss": 2.0, "accuracy": 0.25}],
    }
    write_tensorboard(tmp_path / "new", history)
    for network, epochs in history.items():
        (file,) = (tmp_path / "new" / f"model {network}").iterdir()
        events = [(e.step, v) for e in tf.compat.v1.train.summary_iterator(str(file)) for v in e.summary.value]
        for name in ("loss", "accuracy"):
            found = [(step, float(tf.make_ndarray(value.tensor))) for step, value in events if value.tag == name]
            assert found == [(k + 1, epoch[name]) for k, epoch in enumerate(epochs)]
