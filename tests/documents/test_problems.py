"""docs/problems.md lists the code of every problem that the package can report, and no other."""

import re

from project import PROJECT

PAGE = (PROJECT / "docs/problems.md").read_text(encoding="utf-8")
CODE = re.compile(r'\bcode="([^"]+)"')


def test_the_page_and_the_package_have_the_same_codes():
    sources = (PROJECT / "mirex_submission").rglob("*.py")
    used = {code for source in sources for code in CODE.findall(source.read_text(encoding="utf-8"))}
    listed = re.findall(r"^\| `([a-z.0-9-]+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(used)


def test_each_area_lists_its_own_codes_in_order():
    for section in PAGE.split("\n## ")[1:]:
        area, codes = section.split("\n")[0], re.findall(r"^\| `([a-z.0-9-]+)` \|", section, flags=re.MULTILINE)
        assert codes == sorted(codes) and all(code.startswith(f"{area}.") for code in codes)
