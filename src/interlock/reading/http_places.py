"""Hosts and addresses that matter, as data. Read by the HTTP reader.

Sources: the clouds' documentation of their metadata services, IANA's registries of special-purpose addresses, and the
services' own pages on what they are for (paste bins, request bins, tunnels, chat webhooks).
"""

from __future__ import annotations

METADATA_ADDRESSES = frozenset(
    (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
METADATA_HOSTS = (
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
)
METADATA_HEADERS = frozenset(
    ("metadata-flavor", "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds", "x-google-metadata-request")
)

INTERNAL_SUFFIXES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "corp",
    "lan",
    "home.arpa",
    "svc",
    "cluster.local",
    "consul",
)
REBINDING = (
    "nip.io",
    "sslip.io",
    "xip.io",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "lacolhost.com",
    "rbndr.us",
    "1u.ms",
    "rebind.network",
)
"""Public names that resolve to any address, inner ones too."""

DROP_BOXES = (
    # paste bins
    "pastebin.com", "paste.ee", "hastebin.com", "dpaste.com", "dpaste.org", "ghostbin.com", "rentry.co", "controlc.com", "justpaste.it", "termbin.com", "ix.io", "sprunge.us", "paste.rs", "bpa.st", "privatebin.net",
    # file drops
    "0x0.st", "transfer.sh", "file.io", "gofile.io", "anonfiles.com", "catbox.moe", "tmpfiles.org", "temp.sh", "bashupload.com", "oshi.at", "filebin.net", "uguu.se", "wetransfer.com", "send.vis.ee", "sendspace.com",
    "pixeldrain.com", "mega.nz", "keep.sh", "envs.sh",
    # request bins and out-of-band collectors
    "webhook.site", "requestbin.com", "requestbin.net", "pipedream.net", "hookbin.com", "beeceptor.com", "requestcatcher.com", "mockbin.org", "mockbin.io", "postb.in", "ptsv2.com", "ptsv3.com", "hookdeck.com",
    "interact.sh", "interactsh.com", "oast.pro", "oast.live", "oast.site", "oast.online", "oast.fun", "oast.me", "burpcollaborator.net", "oastify.com", "canarytokens.com", "dnslog.cn", "ceye.io", "bxss.me", "xss.ht",
    "request.bin", "typedwebhook.tools", "webhook.cool", "svix.com",
    # tunnels to somebody's machine
    "ngrok.io", "ngrok.app", "ngrok-free.app", "ngrok-free.dev", "ngrok.dev", "trycloudflare.com", "loca.lt", "localtunnel.me", "serveo.net", "localhost.run", "lhr.life", "pagekite.me", "telebit.io", "bore.pub", "pinggy.link",
    "pinggy.io", "tunnelmole.net", "playit.gg",
)  # fmt: skip
"""Anybody can open one without a name and read what arrives."""

CHAT_HOOKS = (
    "hooks.slack.com", "discord.com/api/webhooks", "discordapp.com/api/webhooks", "api.telegram.org", "webhook.office.com", "outlook.office.com/webhook", "chat.googleapis.com", "maker.ifttt.com", "hooks.zapier.com", "hook.integromat.com",
    "hook.eu1.make.com", "formspree.io", "docs.google.com/forms",
)  # fmt: skip
"""Places that hand on what they are sent to people or other programs."""

SHORTENERS = (
    "bit.ly",
    "tinyurl.com",
    "t.co",
    "goo.gl",
    "is.gd",
    "cutt.ly",
    "rb.gy",
    "ow.ly",
    "buff.ly",
    "shorturl.at",
    "t.ly",
    "v.gd",
    "tiny.cc",
)

ADMIN_PORTS = frozenset(
    (22, 23, 25, 445, 2375, 2376, 2379, 3306, 3389, 5432, 5984, 6379, 6443, 9200, 10250, 10255, 11211, 27017)
)
"""Databases, container engines, cluster and mail ports: no web server is expected there."""
