"""The loop that trains: order, rates, steps by hand, state that survives a kill and tells when it is damaged."""

from dataclasses import replace

import pytest
from tiny_training import LINE_PLAN, kill_in_the_middle, train_line

from workbench.datatypes import WorkbenchError
from workbench.finetuning import Plan, batch, count_steps, evaluation_steps, learning_rate, train


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs must be above 0"),
        ("epochs", float("nan"), "epochs must be a number, not nan"),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("batch_size", 2.0, "batch_size must be a whole number, not 2.0"),
        ("batch_size", True, "batch_size must be a whole number, not True"),
        ("learning_rate", -1e-4, "learning_rate must be at least 0"),
        ("learning_rate", "1e-4", "learning_rate must be a number, not '1e-4'"),
        ("learning_rate", float("inf"), "learning_rate must be a number, not inf"),
        ("warmup", 1.1, "warmup is a share of the steps from 0 to 1, not 1.1"),
        ("weight_decay", -1, "weight_decay must be at least 0"),
        ("max_norm", 0.0, "max_norm must be above 0"),
        ("seed", -1, "seed must be at least 0"),
        ("checkpoint_every", 0, "checkpoint_every must be at least 1"),
        ("evaluate_every", 0.5, "evaluate_every must be a whole number"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(field, value, message):
    with pytest.raises(WorkbenchError, match=message):
        Plan(**{field: value})


def test_the_rate_rises_and_falls_linearly():
    rates = [learning_rate(Plan(learning_rate=6.0, warmup=0.25), 8, step) for step in range(8)]
    assert rates == pytest.approx([3, 6, 6, 5, 4, 3, 2, 1])  # two steps up, then 6 down, which would end at 0
    assert [learning_rate(Plan(learning_rate=4.0, warmup=0), 4, step) for step in range(4)] == pytest.approx([4, 3, 2, 1])
    assert [learning_rate(Plan(learning_rate=4.0, warmup=1), 4, step) for step in range(4)] == pytest.approx([1, 2, 3, 4])


def test_each_epoch_takes_every_row_once_in_an_order_of_its_own():
    plan = Plan(epochs=2, batch_size=4, seed=5)
    epochs = [[batch(plan, 10, step) for step in range(start, start + 3)] for start in (0, 3)]
    assert [[len(rows) for rows in epoch] for epoch in epochs] == [[4, 4, 2]] * 2
    orders = [[row for rows in epoch for row in rows] for epoch in epochs]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert batch(replace(plan, seed=6), 10, 0) != batch(plan, 10, 0)


@pytest.mark.parametrize(
    ("epochs", "every", "steps", "points"),
    [(1, 0, 3, [0, 1, 2, 3]), (4, 0, 12, [0, 3, 6, 9, 12]), (0.5, 0, 2, [0, 1, 2]), (0.01, 0, 1, [0, 1]), (4, 5, 12, [0, 5, 10, 12])],
)
def test_steps_and_points(epochs, every, steps, points):
    plan = Plan(epochs=epochs, batch_size=4, evaluate_every=every)
    assert count_steps(plan, 10) == steps
    assert evaluation_steps(plan, 10) == points


@pytest.mark.parametrize("shares", [1, 2])
def test_one_step_by_hand(tmp_path, shares):
    """The first step of Adam goes by the learning rate against the sign of the gradient, decayed weights being shrunk before."""
    import torch

    weights = torch.nn.Parameter(torch.tensor([2.0, -4.0]))
    plan = Plan(batch_size=2, learning_rate=0.5, warmup=0, weight_decay=0.1)

    def losses(rows):
        return [(weights * torch.tensor([1.0, -3.0])).sum() / shares for _ in range(shares)]

    points = train(plan, 2, {"weights": weights}, losses, None, tmp_path, {})
    assert weights.tolist() == pytest.approx([2 * (1 - 0.05) - 0.5, -4 * (1 - 0.05) + 0.5], abs=1e-5)
    assert [(point.step, point.epoch, point.train_loss, point.held_out_loss) for point in points] == [(0, 0, None, None), (1, 1, 14, None)]


def test_gradients_are_cut_and_the_mean_loss_is_that_of_the_steps_between(tmp_path):
    import torch

    weights, lengths = torch.nn.Parameter(torch.zeros(2)), []

    def losses(rows):
        if weights.grad is not None:
            raise AssertionError("gradients of the step before")
        yield (weights * torch.tensor([30.0, 40.0])).sum() + float(len(rows))
        lengths.append(weights.grad.norm().item())

    before = torch.random.get_rng_state()
    points = train(Plan(batch_size=2, learning_rate=1e-9, evaluate_every=2), 7, {"w": weights}, losses, lambda: 7.0, tmp_path, {})
    assert lengths == [50.0] * 4  # before they are cut
    assert weights.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-4)
    assert [point.train_loss for point in points] == [None, pytest.approx(2), pytest.approx(1.5)]  # batches of 2, 2 | 2, 1
    assert [point.held_out_loss for point in points] == [7.0] * 3
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_killed_training_ends_in_the_same_bits(tmp_path):
    points, whole = train_line(tmp_path / "whole")
    kill_in_the_middle("line", str(tmp_path / "killed"))
    assert [path.name[-8:] for path in (tmp_path / "killed").iterdir()] == ["00000010"]
    said = []
    again, resumed = train_line(tmp_path / "killed", said.append)
    assert said[0] == "going on after step 10 of 32"
    assert resumed == whole
    assert [replace(point, seconds=0) for point in again] == [replace(point, seconds=0) for point in points]
    assert train_line(tmp_path / "killed", said.append) == (again, whole)  # nothing left to do
    assert train_line(tmp_path / "other", plan=replace(LINE_PLAN, seed=1))[1] != whole
    assert points[-1].held_out_loss < points[0].held_out_loss


def test_points_and_checkpoints_change_no_result(tmp_path):
    plan = replace(LINE_PLAN, evaluate_every=1, checkpoint_every=1)
    assert train_line(tmp_path / "often", plan=plan)[1] == train_line(tmp_path / "seldom")[1]


def test_state_of_another_training_is_not_taken_which_is_said(tmp_path):
    train_line(tmp_path, data=1)
    said = []
    _, weights = train_line(tmp_path, said.append, data=2)
    assert said[0] == "the state kept under this name is of other data, settings or package versions: training starts anew"
    assert weights == train_line(tmp_path / "new", data=2)[1]
    assert len([path for path in tmp_path.iterdir() if path.name != "new"]) == 1


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_state_is_told(tmp_path, file, damage):
    train_line(tmp_path)
    [path] = tmp_path.glob(f"*/{file}")
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif file == "state.json":
        path.write_bytes(data.replace(b'"seconds": ', b'"seconds": 1'))
    else:
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(WorkbenchError, match="no such file" if (file, damage) == ("state.json", "missing") else "is damaged"):
        train_line(tmp_path)


@pytest.mark.parametrize(("factor", "what"), [(float("nan"), "the loss is nan"), (float("inf"), "the loss is inf")])
def test_a_loss_that_is_no_number_stops_before_anything_is_saved(tmp_path, factor, what):
    import torch

    weights, seen = torch.nn.Parameter(torch.ones(1)), []

    def losses(rows):
        seen.append(rows)
        return [weights.sum() * (factor if len(seen) == 3 else 1)]

    with pytest.raises(WorkbenchError, match=f"{what} at step 3; take a lower learning rate"):
        train(Plan(batch_size=1, checkpoint_every=3), 5, {"w": weights}, losses, None, tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_gradients_and_held_out_losses_must_be_numbers_and_there_must_be_rows(tmp_path):
    import torch

    weights = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(WorkbenchError, match="the gradient is inf at step 1"):
        train(Plan(), 1, {"w": weights}, lambda rows: [weights.sqrt().sum()], None, tmp_path, {})
    with pytest.raises(WorkbenchError, match="the held-out loss is nan at step 0"):
        train(Plan(), 1, {"w": weights}, lambda rows: [weights.sum()], lambda: float("nan"), tmp_path, {})
    with pytest.raises(WorkbenchError, match="nothing to train: 0 rows, 1 parameters"):
        train(Plan(), 0, {"w": weights}, lambda rows: [], None, tmp_path, {})
