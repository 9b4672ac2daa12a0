"""The keys of a launchd file and what each may be, by launchd.plist(5) of macOS 15.

A JSON Schema of what `plistlib` reads. A key that launchd does not know it ignores, so a slip in a
name is found by nothing but this.
"""

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
_FLAG = {"type": "boolean"}
_NUMBER = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "array", "items": _TEXT}
_FLAGS = {"type": "object", "additionalProperties": _FLAG}
_LIMITS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        name: _NUMBER
        for name in ("Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles",
                     "NumberOfProcesses", "ResidentSetSize", "Stack")
    },
}  # fmt: skip
_MOMENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: _NUMBER for name in ("Minute", "Hour", "Day", "Weekday", "Month")},
}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["Label"],
    "anyOf": [{"required": ["Program"]}, {"required": ["ProgramArguments"]}],
    "additionalProperties": False,
    "properties": {
        "Label": _TEXT,
        "Disabled": _FLAG,
        "UserName": _TEXT,
        "GroupName": _TEXT,
        "Program": _TEXT,
        "BundleProgram": _TEXT,
        "ProgramArguments": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "EnableGlobbing": _FLAG,
        "EnableTransactions": _FLAG,
        "EnablePressuredExit": _FLAG,
        "OnDemand": _FLAG,
        "KeepAlive": {
            "anyOf": [
                _FLAG,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "SuccessfulExit": _FLAG,
                        "Crashed": _FLAG,
                        "AfterInitialDemand": _FLAG,
                        "NetworkState": _FLAG,
                        "PathState": _FLAGS,
                        "OtherJobEnabled": _FLAGS,
                    },
                },
            ]
        },
        "RunAtLoad": _FLAG,
        "RootDirectory": _TEXT,
        "WorkingDirectory": _TEXT,
        "EnvironmentVariables": {"type": "object", "additionalProperties": {"type": "string"}},
        "Umask": {"anyOf": [_NUMBER, {"type": "string", "pattern": "^0?[0-7]{3}$"}]},
        "TimeOut": _NUMBER,
        "ExitTimeOut": _NUMBER,
        "ThrottleInterval": _NUMBER,
        "InitGroups": _FLAG,
        "WatchPaths": _TEXTS,
        "QueueDirectories": _TEXTS,
        "StartOnMount": _FLAG,
        "StartInterval": _NUMBER,
        "StartCalendarInterval": {"anyOf": [_MOMENT, {"type": "array", "items": _MOMENT}]},
        "StandardInPath": _TEXT,
        "StandardOutPath": _TEXT,
        "StandardErrorPath": _TEXT,
        "Debug": _FLAG,
        "WaitForDebugger": _FLAG,
        "SoftResourceLimits": _LIMITS,
        "HardResourceLimits": _LIMITS,
        "Nice": {"type": "integer", "minimum": -20, "maximum": 20},
        "ProcessType": {"enum": ["Background", "Standard", "Adaptive", "Interactive"]},
        "AbandonProcessGroup": _FLAG,
        "LowPriorityIO": _FLAG,
        "LowPriorityBackgroundIO": _FLAG,
        "MaterializeDatalessFiles": _FLAG,
        "LaunchOnlyOnce": _FLAG,
        "MachServices": {"type": "object"},
        "Sockets": {"type": "object"},
        "LaunchEvents": {"type": "object"},
        "HopefullyExitsLast": _FLAG,
        "HopefullyExitsFirst": _FLAG,
        "SessionCreate": _FLAG,
        "LegacyTimers": _FLAG,
        "AssociatedBundleIdentifiers": {"anyOf": [_TEXT, _TEXTS]},
        "LimitLoadToHosts": _TEXTS,
        "LimitLoadFromHosts": _TEXTS,
        "LimitLoadToSessionType": {
            "anyOf": [
                {"enum": ["Aqua", "LoginWindow", "Background", "StandardIO", "System"]},
                _TEXTS,
            ]
        },
        "LimitLoadToHardware": {"type": "object"},
        "LimitLoadFromHardware": {"type": "object"},
    },
}
