import pytest

import emotion_tutorial as et


def test_default_is_quick_and_needs_no_network():
    profile = et.get_profile()
    assert (profile.name, profile.data, profile.checkpoint) == ("quick", "embedded", "embedded")


def test_environment_picks_and_replaces(monkeypatch):
    for name, value in {"PROFILE": "full", "DATA": "somewhere", "CHECKPOINT": "else", "TEXT_COLUMN": "review"}.items():
        monkeypatch.setenv(f"EMOTION_TUTORIAL_{name}", value)
    profile = et.get_profile(label_column="stars")
    assert (profile.name, profile.data, profile.checkpoint) == ("full", "somewhere", "else")
    assert profile.columns == {"text_column": "review", "label_column": "stars"}
    assert et.get_profile("quick").name == "quick"
    assert et.get_profile(data="mine").data == "mine"


def test_unknown_profile_and_setting_are_refused():
    with pytest.raises(et.SettingsError, match=r"'fast'.*'quick', 'full'"):
        et.get_profile("fast")
    with pytest.raises(TypeError, match="'epoch'"):
        et.get_profile(epoch=3)
