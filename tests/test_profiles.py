import dataclasses

import pytest
from loopback_hub import LoopbackHub, add_emotion_data

import emotion_tutorial as et
from emotion_tutorial.profiles import PROFILES


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


@pytest.mark.parametrize("setting", ["data", "checkpoint", "text_column", "label_column"])
@pytest.mark.parametrize("profile", [None, "", " ", "full"])
@pytest.mark.parametrize("value", [None, "", "  ", "~/theirs", " theirs "])
@pytest.mark.parametrize("keyword", [{}, {"epochs": 9}, {"mine": "mine"}], ids=str)
def test_a_keyword_wins_over_the_environment_and_that_over_the_name(monkeypatch, setting, profile, value, keyword):
    for variable, content in (("PROFILE", profile), (setting.upper(), value)):
        if content is not None:
            monkeypatch.setenv(f"EMOTION_TUTORIAL_{variable}", content)
    found = et.get_profile("real", **{name.replace("mine", setting): given for name, given in keyword.items()})
    base = PROFILES["full" if profile == "full" else "real"]
    wanted = keyword.get("mine") or (value or "").strip() or getattr(base, setting)
    assert found == dataclasses.replace(base, **{"epochs": keyword.get("epochs", base.epochs), setting: wanted})
    assert found.columns == {"text_column": found.text_column, "label_column": found.label_column}


def test_a_profile_may_have_a_name_of_its_own():
    assert et.get_profile("full", name="mine") == dataclasses.replace(PROFILES["full"], name="mine")


def test_unknown_profile_and_setting_are_refused():
    with pytest.raises(et.SettingsError, match=r"'fast'.*'quick', 'real', 'full'"):
        et.get_profile("fast")
    with pytest.raises(et.SettingsError, match="No profile"):
        et.get_profile(["quick"])
    with pytest.raises(et.SettingsError, match=r"get_profile\('full'\)"):
        et.get_profile(name="full")
    with pytest.raises(TypeError, match="'epoch'"):
        et.get_profile(epoch=3)
