"""Text as an attacker writes it: hidden characters, encodings, ways out, instructions to the agent inside data.

The phrase rules are a tripwire, not the control: they raise, never lower. Every text is read raw and normalised (spans say
which), decoded views are read once more, and nothing that is executed is ever changed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import re2

from interlock.model.action import Finding, Reading, Span, SpanKind, Surface
from interlock.model.risk import RiskLevel
from interlock.reading.definitions import is_listed, poisoned
from interlock.reading.encoded import squashed, views
from interlock.reading.hidden import hidden_characters
from interlock.reading.injection import ENOUGH, Signal, signals, strongest
from interlock.reading.links import unseen, ways_out
from interlock.reading.normal import encodable, normalise, strip_invisible
from interlock.reading.orders import adds_up, orders
from interlock.reading.secrets import find_secrets, redact

__all__ = ["LONGEST", "normalise", "read_text"]

LONGEST = 262_144
"""Characters that are read; what lies beyond is said to be unread, and a person is asked."""
_NOTED = 6
_EVIDENCE = 100

_AT = {
    Surface.TOOL_RESULT: "R",
    Surface.TOOL_DEFINITION: "D",
    Surface.AGENT_OUTPUT: "O",
    Surface.TASK: "T",
    Surface.PROMPT: "T",
    Surface.PLAN: "T",
    Surface.TOOL_CALL: "O",
    Surface.FILE_CHANGE: "O",
}
_QUIET = frozenset(
    {Surface.TOOL_CALL, Surface.FILE_CHANGE}
)  # what an agent writes may speak of attacks: noted, not asked
_DATA = frozenset({Surface.TOOL_RESULT, Surface.TOOL_DEFINITION, Surface.AGENT_OUTPUT})

# Marks that only a chat's plumbing writes: data that holds them poses as system, user or tool.
_ROLE = re2.compile(
    r"(?i)#{2,}\s*\(?\s*(?:system|admin|instruction|assistant|new instruction|override|hidden)s?[ _]?(?:message|prompt|note|instructions?)?\s*\)?\s*:?|<\|?(?:im_start|im_end|system|user|assistant|endoftext|start_header_id|eot_id)\|>|\[/?(?:INST|SYS|SYSTEM|TOOL OUTPUT|ASSISTANT)\]|<</?SYS>>|</?(?:tool_result|tool_output|function_results?|tool_response|system|system_message|information|important|admin|untrusted|instructions?|user_request|assistant)>"
    r"|(?:^|[\n.\]>:{;\"'])\s*(?:system(?:\s+(?:message|prompt|note|override|alert|notice|update|instruction))?|assistant|admin(?:istrator)?(?: override| message)?|systeme|sistema|note to (?:the )?(?:ai|llm|assistant|model|agent)s?)\s*:"
)
_ROLE_BOUND = 6
_ORDERS = frozenset({"act", "act_there", "ordered", "model", "persona", "command"})
_POSES = frozenset({"role", "addressed", "reader", "override", "new_task", "from_user", "unseen", "decode"})
# The first says nothing more when its words are also the second's.
_SAME = {
    "model": {"addressed", "model_policy", "reader"},
    "persona": {"persona_you"},
    "takes": {"takes_secret"},
    "for_user": {"hiding"},
}
_SHORT = 2_000  # characters; weak signs next to each other weigh in a message, not in a source file
_PLAIN = 6
_CODE_DANGER = re2.compile(
    r"(?i)requests\.(?:post|put|get)|urlopen|urlretrieve|socket\.socket|\.sendall\(|\.sendto\(|fetch\(|paramiko|smtplib|yagmail|sendmail|rsync|\bscp\b|http\.client|\bcurl\b|\bwget\b|rmtree|os\.(?:remove|unlink|system|popen|kill|fork)|\.terminate\(|\.kill\(|subprocess|\bPopen\b|\bspawn\(|\bexec\(|\beval\(|/etc/|/boot/|C:\\\\Windows|\bAES\b|Fernet|pyperclip|pynput|keyboard\.|ImageGrab|x11grab|mss\(|winreg|ctypes|scapy|crontab|nmap|pexpect|ftplib|telnetlib|webbrowser\.|selenium|pyautogui|cv2\.VideoCapture|sounddevice|pyaudio|psutil|getpass|environ|sudo |chmod |iptables|shutdown"
)
# The commonest orders in languages that do not use Latin letters (those that do are in the lexicon): verb, then object.
_FOREIGN = tuple(
    re2.compile(pattern)
    for pattern in (
        "(?i)(?:игнорируй|игнорировать|забудь|проигнорируй|не обращай внимания|ігноруй|забудьте)[^.!?\n]{0,60}(?:инструкци|указани|правил|команд|предыдущ|попередн|вказівк)",
        "(?:忽略|无视|無視|忘记|忘記|不要理会|绕过)[^。！？\n]{0,30}(?:指令|指示|说明|說明|规则|規則|提示|限制|之前|以上|先前|命令)",
        "(?:指示|命令|ルール|プロンプト|規則|制約)[^。！？\n]{0,12}(?:無視|忘れ|破棄)",
        "(?:지시|명령|규칙|지침|프롬프트|안내)[^.!?\n]{0,20}(?:무시|잊어|따르지)",
        "(?:تجاهل|انس|انسى)[^.!؟\n]{0,60}(?:التعليمات|الأوامر|السابقة|القواعد)",
        "(?:निर्देश|आदेश|नियम)[^।!?\n]{0,40}(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल)|(?:अनदेखा|भूल)[^।!?\n]{0,40}(?:निर्देश|नियम)",
        "(?:התעלם|שכח)[^.!?\n]{0,60}(?:הוראות|הנחיות|הקודמות)|(?i:αγν[οό]ησε|ξέχασε)[^.!;\n]{0,60}(?:οδηγ|εντολ)",
        "(?i)(?:bo qua|phot lo)[^.!?\n]{0,40}(?:huong dan|chi thi|lenh)|(?:ละเว้น|เพิกเฉย|ไม่สนใจ)[^\n]{0,40}(?:คำสั่ง|คำแนะนำ)",
        "(?i)(?:покажи|раскрой|выведи|назови)[^.!?\n]{0,40}(?:системн|промпт|пароль|ключ)|(?:显示|顯示|告诉我|泄露|输出)[^。！？\n]{0,20}(?:系统提示|系統提示|密码|密碼|密钥)|システムプロンプト[^。\n]{0,12}(?:表示|教え|見せ)|시스템 프롬프트[^.\n]{0,12}(?:보여|알려|출력)",
    )
)
# The same orders in text whose spaces are gone: letters and digits only, digits read as the letters that they imitate.
_SQUASHED = re2.compile(
    r"(?:ignore|disregard|forget|bypass|override)(?:all|the|any|your|my|of|these|those|previous|prior|above|earlier|safety|security|system){0,5}(?:instruct[il]ons?|ru[il]es?|prompts?|gu[il]de[il][il]nes?|restr[il]ct[il]ons?|po[il][il]c[il](?:es|y)|f[il][il]ters?|approva[il]s?|safety|checks?|comm?ands|above)"
    r"|(?:revea[il]|show|pr[il]nt|[il]eak|d[il]sp[il]ay|repeat|output|exf[il][il]trate|send)(?:me|the|your|a[il][il]|h[il]dden|[il]n[il]t[il]a[il]|custom|customer){0,5}(?:systemprompt|systemmessage|system[il]nstruct|h[il]ddenprompt|secrets?|credent[il]a[il]s?|passwords?|ap[il]keys?|env[il]ronmentvar)"
    r"|(?:send|forward|ema[il][il]|export|up[il]oad|exf[il][il]trate)(?:the|a[il][il]|customer|user|database|every){0,4}(?:ema[il][il]s?|records|data|credent[il]a[il]s|database|f[il][il]es|messages|secrets)[a-z]{0,20}(?:attacker|ev[il][il]|externa[il])"
    r"|(?:export|dump)(?:the|a[il][il]|every|customer){0,3}(?:database)?(?:credent[il]a[il]s|secrets|database)|approve(?:the|a[il][il]|every|next|pend[il]ng){1,4}too[il]ca[il][il]|youarenow(?:dan|unrestr|free|an?unf)|doanyth[il]ngnow|deve[il]opermodeenab"
)
# Whoever says that data are no orders gives none.
_WARNING = re2.compile(
    r"(?i)\b(?:do not|don't|never|must not|should not) (?:follow|obey|execute|act on|trust) (?:any |the )?"
    r"(?:instructions?|commands?|orders?|directives?)(?:,? (?:or|and) \w+)? (?:\w+ ){0,2}?(?:in|inside|within|from|by) "
    r"(?:it|them|this tool|the (?:web )?(?:page|content|result|data|document|output|text|file)s?|(?:web )?pages|(?:tool )?results|documents|content|data)\b"
)
_COMMAND = re2.compile(
    r"(?i)\b(?:curl|wget)\b[^\n|]{0,200}\|\s*(?:ba|z|da)?sh\b|\brm\s+-[a-z]*[rf]|\b(?:nc|ncat)\b.{0,60}\s-e\b|/dev/tcp/|\bpowershell\b.{0,60}-e(?:nc|xec)|\bos\.system\(|\bsubprocess\.|\beval\(|\bchmod \+x\b|\bdrop\s+(?:table|database)\b"
)


def read_text(text: str, surface: Surface) -> Reading:
    """What is hidden, encoded, leaking or giving orders in ``text``, as it matters on ``surface``. Never raises.

    Critical: a secret on its way out, or a tool definition that hides from the user or reads credential files. High: hidden
    characters, data that gives the agent orders, addresses that carry data, text beyond :data:`LONGEST`. Linear in the text.
    """
    raw = encodable(text[:LONGEST])
    findings = hidden_characters(raw)
    if len(text) > LONGEST:
        findings.append(
            _plain(
                "text.too_long",
                RiskLevel.HIGH,
                f"{len(text)} characters",
                "the text is longer than what is read; the rest was not looked at",
            )
        )
    plain = normalise(raw)
    of = SpanKind.RAW if plain == raw else SpanKind.NORMALISED
    findings += _orders(raw, plain, surface, of)
    findings += ways_out(plain)
    if surface is Surface.TOOL_DEFINITION or (surface is Surface.TOOL_RESULT and is_listed(plain)):
        findings += poisoned(plain, of)
        findings += [
            replace(finding, span=None)
            for _, decoded in _decoded(plain, raw)
            for finding in poisoned(normalise(decoded), of)
        ]
    if surface is Surface.TOOL_DEFINITION:
        findings = [
            replace(finding, severity=RiskLevel.HIGH) if finding.kind == "text.hidden.zero_width" else finding
            for finding in findings
        ]
    findings += _secrets(raw, surface)
    return Reading(findings=tuple(dict.fromkeys(findings)))


def _secrets(raw: str, surface: Surface) -> list[Finding]:
    """Secrets; in a tool's result they are not on their way out yet: a person is asked before a model sees them."""
    found = find_secrets(raw)
    if surface is not Surface.TOOL_RESULT:
        return list(found)
    return [replace(finding, severity=min(finding.severity, RiskLevel.HIGH)) for finding in found]


def _orders(raw: str, plain: str, surface: Surface, of: SpanKind) -> list[Finding]:
    """Injected instructions in the text, in its unseen parts, and in what it decodes to."""
    at = _AT[surface]
    found, told = _with_structure(plain, at), orders(plain, at, strip_invisible(raw))
    findings = _judged(found, told, plain, surface, of, "text.injection")
    wants_decoding = any(signal.name == "decode" for signal in found)
    for kind, inner, start, end in unseen(plain) if surface in _DATA else ():
        findings += [
            replace(finding, span=Span(start=start, end=end, of=of))
            for finding in _judged(
                [*_with_structure(inner, at), Signal("unseen", 4, "it stands where nobody sees it", 0, 0)],
                orders(inner, at, inner),
                inner,
                surface,
                of,
                f"text.unseen.{kind}",
            )
            if finding.severity > RiskLevel.MEDIUM
        ]
    for how, decoded in _decoded(plain, raw):
        inner = normalise(decoded)
        extra = [Signal("decode", 8, "it asks to decode something and obey it", 0, 0)] if wants_decoding else []
        findings += [
            replace(finding, span=None)
            for finding in [
                *_judged(
                    [*_with_structure(inner, at), *extra],
                    orders(inner, at, decoded),
                    inner,
                    surface,
                    of,
                    f"text.encoded.{how}",
                ),
                *ways_out(inner),
            ]
            if finding.severity > RiskLevel.MEDIUM
        ]
        if surface in _DATA and how in {"base64", "hex"} and (match := _COMMAND.search(inner)):
            findings.append(_plain(f"text.encoded.{how}", RiskLevel.HIGH, match[0], "an encoded blob holds a command"))
    return findings + _elsewhere(raw, plain, surface)


def _decoded(plain: str, raw: str) -> Iterator[tuple[str, str]]:
    for how, found in views(plain if plain == raw else f"{plain}{_tags_only(raw)}"):
        decoded = encodable(found)
        yield how, decoded
        for further, again in views(decoded):
            yield f"{how}.{further}", encodable(again)


def _tags_only(raw: str) -> str:
    return "".join(char for char in raw if 0xE0020 <= ord(char) <= 0xE007E)  # noqa: PLR2004 - the block of tag characters


def _elsewhere(raw: str, plain: str, surface: Surface) -> list[Finding]:
    """Orders in other scripts, and in text without spaces."""
    severity = RiskLevel.MEDIUM if surface in _QUIET else RiskLevel.HIGH
    findings = []
    if not raw.isascii():
        seen = strip_invisible(raw)
        for pattern in _FOREIGN:
            match = pattern.search(seen)
            if match:
                findings.append(
                    _plain(
                        "text.injection.override",
                        severity,
                        match[0],
                        "it asks, in another language, to disregard instructions or reveal secrets",
                    )
                )
    tight = squashed(plain)
    if tight:
        for table in _DIGITS:
            match = _SQUASHED.search(tight.translate(table))
            if match:
                findings.append(
                    _plain(
                        "text.encoded.squashed",
                        severity,
                        match[0],
                        "an order is written so that no filter reads its words",
                    )
                )
                break
    return findings


_DIGITS = str.maketrans("0134578", "oieastb"), str.maketrans("0134578", "oleastb")


def _with_structure(text: str, at: str) -> list[Signal]:
    """The signals of the grammar, of marks that pose as another role, and of dangerous code that is offered."""
    roles = [_role(match) for match in _ROLE.finditer(text)] if at != "T" else []
    pieces: list[str] = []
    done = 0
    for role in roles:  # behind such a mark a sentence begins
        pieces += (text[done : role.start], ".".ljust(role.end - role.start))
        done = role.end
    found = signals("".join((*pieces, text[done:])), at) + roles
    if any(signal.name == "override" for signal in found):
        warned = [match.span() for match in _WARNING.finditer(text)]
        found = [signal for signal in found if not _is_warning(signal, warned)]
    if (command := _COMMAND.search(text)) and at != "T":
        found.append(Signal("command", 3, "it holds a command", *command.span()))
    code = [signal for signal in found if signal.name == "code"]
    if code and (match := _CODE_DANGER.search(text, code[0].start)) and match.start() - code[0].start < 2000:  # noqa: PLR2004 - the code follows at once
        found.append(
            Signal("dangerous_code", 5, "the code acts on the system or the network", code[-1].end, code[-1].end)
        )
    return found


def _is_warning(signal: Signal, warned: list[tuple[int, int]]) -> bool:
    return signal.name == "override" and any(start < signal.end and signal.start < end for start, end in warned)


def _role(match: re2._Match) -> Signal:
    """Marks of a chat's plumbing and shouted roles weigh more than a word before a colon."""
    heading = match[0][:1] == "#" and not any(char in ":(" for char in match[0]) and "\n" in match[0]
    shouted = any(char in "#<[" for char in match[0]) or match[0].strip().isupper()
    weight = _ROLE_BOUND if shouted and not heading else _ROLE_BOUND - 3
    return Signal("role", weight, "it poses as another role", *match.span())


def _judged(
    found: list[Signal], told: list[Signal], text: str, surface: Surface, of: SpanKind, kind: str
) -> list[Finding]:
    """One finding of what the grammar or the orders to machines add up to; the two tell the same acts, and are not added."""
    near = max((_by_grammar(found, text), _by_orders(found, told, text)), key=_score)
    score = _score(near)
    if score < _NOTED:
        return []
    heaviest = max(near, key=lambda signal: signal.weight)
    start, end = min(signal.start for signal in near), max(signal.end for signal in near)
    severity = RiskLevel.MEDIUM if score < ENOUGH or surface in _QUIET else RiskLevel.HIGH
    whats = ", ".join(dict.fromkeys(signal.what for signal in sorted(near, key=lambda signal: -signal.weight)[:3]))
    return [
        Finding(
            detector="text",
            kind=f"{kind}.{heaviest.name}",
            severity=severity,
            evidence=_shown(text, start, end),
            reason=f"the text gives the agent orders: {whats}",
            span=Span(start=start, end=end, of=of),
        )
    ]


def _score(near: list[Signal]) -> int:
    return sum(signal.weight for signal in near)


def _by_grammar(found: list[Signal], text: str) -> list[Signal]:
    """The strongest signals of the grammar near each other; none when they are what ordinary text is full of."""
    near = _once(strongest(found)[1])
    names = {signal.name for signal in near}
    telling = [signal for signal in near if signal.name not in _ORDERS]
    if not telling or ("unseen" in names and names <= _ORDERS | {"marker", "unseen"}):
        return []  # an order alone is what mails, manuals and to-do lists are full of
    if len(text) > _SHORT and all(signal.weight < _PLAIN for signal in telling):
        return []
    return near


def _by_orders(found: list[Signal], told: list[Signal], text: str) -> list[Signal]:
    """The strongest signals of an order to a machine, with what the grammar knows of who poses as whom."""
    if not told:
        return []
    near = adds_up(
        _once(strongest([*told, *(signal for signal in found if signal.name in _POSES and not _is_mild(signal))])[1])
    )
    if len(text) > _SHORT and all(signal.weight < _PLAIN for signal in near):
        return []
    return near


def _once(near: list[Signal]) -> list[Signal]:
    """The same words count once."""
    return [
        signal
        for signal in near
        if not any(
            other.name in _SAME.get(signal.name, ()) and other.start < signal.end and signal.start < other.end
            for other in near
        )
    ]


def _is_mild(signal: Signal) -> bool:
    """A word before a colon, as in any list of facts or transcript."""
    return signal.name == "role" and signal.weight < _ROLE_BOUND


def _shown(text: str, start: int, end: int) -> str:
    """The words that show it, short; not even a part of a secret."""
    end = min(end, start + _EVIDENCE)
    if any(finding.span and finding.span.start < end and start < finding.span.end for finding in find_secrets(text)):
        return "[redacted]"
    return re.sub(r"\s+", " ", text[start:end])


def _plain(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    return Finding(detector="text", kind=kind, severity=severity, evidence=redact(evidence)[:_EVIDENCE], reason=reason)
