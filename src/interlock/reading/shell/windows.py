"""The few forms of PowerShell and cmd that are dangerous wherever they stand at the start of a command."""

from __future__ import annotations

import re2

from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.shell.machine import Machine

_CHEAP = re2.compile(  # at each character `re` would try every one of the words
    r"(?i)remove-item|invoke-expression|\biex\b|format|clear-|stop-computer|\b(?:del|erase|rd|rmdir|vssadmin|reg|bcdedit|cipher|diskpart|wevtutil|net)\b|download(?:string|file)|set-executionpolicy|-encodedcommand|schtasks|certutil|bitsadmin|takeown|icacls|netsh|\bsc\b|new-service|add-localgroupmember|disable-|set-mppreference|invoke-webrequest|invoke-restmethod|\biwr\b|\birm\b|rundll32|mshta|regsvr32|msiexec|[cw]script|stop-service"
)
_AT = (
    r"(?i)(?:^|[;&|{]\s*)(?:(?:cmd(?:\.exe)?\s+/c|powershell(?:\.exe)?(?:\s+-\w+)*\s+(?:-c(?:ommand)?\s+)?)\s*[\"']?)?"
)
_FORMS = tuple(
    (Linear(_AT + form), level, kind, reason)
    for form, level, kind, reason in (
        (r"(?:remove-item|ri)\b.*-r(?:ec\w*)?\b", RiskLevel.HIGH, "delete.recursive", "A directory would be deleted."),
        (r"(?:remove-item|ri)\b.*-f(?:orce)?\b", RiskLevel.HIGH, "delete.forced", "Files would be deleted without asking."),
        (r"schtasks(?:\.exe)?\s.*/(?:create|change|delete)\b", RiskLevel.HIGH, "persistence.task", "A command would run at set times."),
        (r"(?:certutil(?:\.exe)?\s.*-urlcache|bitsadmin(?:\.exe)?\s.*/transfer)", RiskLevel.HIGH, "unresolved.download", "A program would be fetched past the checks."),
        (r"(?:takeown\s.*/r|icacls\s.*/grant\s.*(?:everyone|users)\S*:\S*[fm])", RiskLevel.HIGH, "permissions.open", "Files would be opened to others."),
        (r"netsh\s+(?:advfirewall|firewall)\s.*\b(?:off|disable|delete)\b", RiskLevel.HIGH, "security.disabled", "A protection would be switched off."),
        (r"sc(?:\.exe)?\s+(?:delete|create|config|stop)\b", RiskLevel.HIGH, "system.service", "A service of the system would change."),
        (r"(?:new-service|disable-\w+|add-localgroupmember)\b|set-mppreference\b.*-disable", RiskLevel.HIGH, "system.service", "The system or its protection would change."),
        (r"(?:rundll32|mshta|regsvr32|wscript|cscript)(?:\.exe)?\s|msiexec(?:\.exe)?\s.*https?:", RiskLevel.HIGH, "unresolved.code", "A program of the system would run code for another."),
        (r"stop-service\b", RiskLevel.HIGH, "system.service", "A service of the system would stop."),
        (r"net\s+localgroup\s+.*/(?:add|delete)", RiskLevel.HIGH, "users.change", "Users of the system would be changed."),
        (r"(?:invoke-webrequest|invoke-restmethod|iwr|irm)\b.*-(?:infile|body)\b", RiskLevel.HIGH, "exfiltration.post", "Data would be sent away."),
        (r"(?:del|erase)\s.*/[sqf]\b", RiskLevel.HIGH, "delete.recursive", "Files would be deleted without asking."),
        (r"(?:rd|rmdir)\s.*/s\b", RiskLevel.HIGH, "delete.recursive", "A directory would be deleted."),
        (r"format(?:\.com)?\s+[a-z]:", RiskLevel.CRITICAL, "disk.format", "A disk would be formatted."),
        (r"(?:format-volume|clear-disk|initialize-disk|diskpart)\b", RiskLevel.CRITICAL, "disk.format", "A disk would be erased."),
        (r"(?:stop-computer|restart-computer)\b", RiskLevel.HIGH, "system.shutdown", "The machine would stop."),
        (r"vssadmin\s+delete|wbadmin\s+delete", RiskLevel.CRITICAL, "delete.backups", "Backups would be deleted."),
        (r"reg\s+delete\b", RiskLevel.HIGH, "system.settings", "Settings of the system would be deleted."),
        (r"(?:bcdedit\s+/set|cipher\s+/w)", RiskLevel.HIGH, "system.settings", "The system's start or disks would be changed."),
        (r"(?:clear-eventlog|wevtutil\s+cl)\b", RiskLevel.HIGH, "security.logs", "The system's records would be deleted."),
        (r"net\s+user\s+.*/(?:add|delete)", RiskLevel.HIGH, "users.change", "Users of the system would be changed."),
        (r"(?:iex|invoke-expression)\b", RiskLevel.HIGH, "unresolved.code", "A text would be executed."),
        (r".*\bdownload(?:string|file)\b.*(?:\|\s*iex|invoke-expression)", RiskLevel.CRITICAL, "unresolved.download", "What was fetched would be executed."),
        (r"set-executionpolicy\s+(?:unrestricted|bypass)", RiskLevel.HIGH, "security.disabled", "A protection would be switched off."),
        (r".*-e(?:nc|ncodedcommand)\s+[a-z0-9+/=]{16,}", RiskLevel.CRITICAL, "unresolved.code", "A command would be hidden by encoding."),
    )
)  # fmt: skip


def judge(machine: Machine, text: str) -> None:
    """Report dangerous forms of the other shells."""
    if _CHEAP.search(text) is None:
        return
    for pattern, level, kind, reason in _FORMS:
        if pattern.search(text) is not None:
            machine.report("shell." + kind, level, text, reason)
