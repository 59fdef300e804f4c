import dataclasses

import pytest

from emotion_tutorial import Profile, get_profile
from emotion_tutorial.exceptions import UnknownProfileError


def test_default_is_quick_and_needs_no_network():
    profile = get_profile()
    assert isinstance(profile, Profile)
    assert (profile.name, profile.data, profile.checkpoint) == ("quick", "embedded", "embedded")


def test_full_takes_everything_from_the_hub():
    profile = get_profile("full")
    assert (profile.data, profile.checkpoint) == ("hub", "distilbert-base-uncased")
    assert (profile.epochs, profile.batch_size, profile.learning_rate, profile.weight_decay) == (2, 64, 2e-5, 0.01)


def test_environment_picks_and_replaces(monkeypatch):
    monkeypatch.setenv("EMOTION_TUTORIAL_PROFILE", "full")
    monkeypatch.setenv("EMOTION_TUTORIAL_DATA", "somewhere")
    monkeypatch.setenv("EMOTION_TUTORIAL_CHECKPOINT", "else")
    profile = get_profile()
    assert (profile.name, profile.data, profile.checkpoint) == ("full", "somewhere", "else")
    assert get_profile("quick").name == "quick"
    assert get_profile(data="mine").data == "mine"


def test_columns_are_arguments_of_load_splits(monkeypatch):
    assert get_profile().columns == {"text_column": "text", "label_column": "label"}
    monkeypatch.setenv("EMOTION_TUTORIAL_TEXT_COLUMN", "review")
    assert get_profile(label_column="stars").columns == {"text_column": "review", "label_column": "stars"}


def test_profile_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_profile().epochs = 5


def test_unknown_profile_lists_the_known_ones():
    with pytest.raises(UnknownProfileError, match=r"'fast'.*'quick', 'full'"):
        get_profile("fast")


def test_unknown_setting_lists_the_known_ones():
    with pytest.raises(UnknownProfileError, match=r"'epoch'.*epochs"):
        get_profile(epoch=3)
