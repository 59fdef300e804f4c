import pytest
from loopback_hub import LoopbackHub, add_emotion_data

import emotion_tutorial as et


def test_quick_is_the_default_and_needs_no_network():
    profile = et.get_profile()
    assert (profile.name, profile.data, profile.checkpoint) == ("quick", "embedded", "embedded")


def test_real_takes_the_data_from_the_hub_and_the_bundled_checkpoint(hub: LoopbackHub, small):
    add_emotion_data(hub, small)
    profile = et.get_profile("real")
    splits = et.load_splits(profile.data, **profile.columns)
    assert splits["train"]["text"][:] == small["train"]["text"][:]
    assert profile.checkpoint == "embedded"


def test_full_takes_data_and_checkpoint_from_the_hub():
    profile = et.get_profile("full")
    assert (profile.data, profile.checkpoint) == ("hub", "distilbert-base-uncased")


def test_environment_wins_over_the_name_and_the_profile(monkeypatch):
    for name, value in {"PROFILE": "full", "DATA": "somewhere", "CHECKPOINT": "else", "TEXT_COLUMN": "review"}.items():
        monkeypatch.setenv(f"EMOTION_TUTORIAL_{name}", value)
    profile = et.get_profile("quick", label_column="stars")
    assert (profile.name, profile.data, profile.checkpoint) == ("full", "somewhere", "else")
    assert profile.columns == {"text_column": "review", "label_column": "stars"}
    assert et.get_profile(data="mine").data == "mine"


def test_unknown_profile_and_setting_are_refused():
    with pytest.raises(et.SettingsError, match=r"'fast'.*'quick', 'real', 'full'"):
        et.get_profile("fast")
    with pytest.raises(TypeError, match="'epoch'"):
        et.get_profile(epoch=3)
