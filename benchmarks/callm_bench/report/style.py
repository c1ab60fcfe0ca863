"""How the page looks."""

STYLE = """
:root{--ink:#1c2430;--soft:#5b6674;--line:#e3e7ec;--ground:#f5f7f9;--sheet:#fff;--mark:#0072b2;--warn:#fff4e5;--warnink:#7a4300}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b1;--line:#2b333d;--ground:#0f1318;--sheet:#171c23;
--mark:#56b4e9;--warn:#33240f;--warnink:#ffc98a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}
main{max-width:1060px;margin:0 auto;padding:36px 20px 80px}
h1{font-size:30px;margin:0;letter-spacing:-.02em}
h2{font-size:20px;margin:0 0 4px}
h3{font-size:15px;margin:22px 0 6px}
.subtitle,.note{color:var(--soft);margin:4px 0 14px;max-width:82ch}
.busy{background:var(--warn);color:var(--warnink);padding:8px 14px;border-radius:8px;margin:8px 0 14px}
nav{display:flex;flex-wrap:wrap;gap:6px 16px;margin:14px 0 22px}
nav a{color:var(--mark);text-decoration:none}
nav a:hover{text-decoration:underline}
section{background:var(--sheet);border:1px solid var(--line);border-radius:12px;padding:20px 24px;margin:0 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;background:none;border:0;padding:0}
.card{background:var(--sheet);border:1px solid var(--line);border-radius:12px;padding:14px 18px}
.card b{font-size:30px;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.card span{color:var(--soft)}
.card p{margin:2px 0 0;color:var(--soft);font-size:13px;line-height:1.35}
figure{margin:10px 0 18px}
figcaption{font-weight:600;margin-bottom:4px}
figure img{width:100%;height:auto;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums;margin:6px 0 10px}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}
th:first-child,td:first-child{text-align:left;padding-left:0}
#skipped td,#skipped th,#machine td,details td{text-align:left;white-space:normal}
tbody tr:last-child td{border-bottom:0}
tr.ours td:first-child{color:var(--mark);font-weight:600}
summary{cursor:pointer;color:var(--mark)}
@media print{body{background:#fff}section{break-inside:avoid-page}nav{display:none}}
"""
