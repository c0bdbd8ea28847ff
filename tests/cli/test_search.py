"""syncdr embed, search and serve: features of a small dataset, what is found with them, wrong input; the page in a browser. SYNCDR_SCREENSHOTS names a folder for pictures of it."""
import gzip
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest
import urllib.parse
import urllib.request
import zlib

import browser
from support import BIN, expect, png, run, write_pictures

CONFIG = """
[run]
arms = ["untrained"]
main = "untrained"
[train]
encoder = { name = "small", dim = 16 }
augment = { resize = 32, crop = 32 }
"""


def setUpModule():
    global FOLDER, CONFIGURATION, SETTINGS, FOUND
    FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-search-"))
    unittest.addModuleCleanup(shutil.rmtree, FOLDER)
    write_pictures(FOLDER / "in", categories=4, images=4)
    expect(run("syncdr-data", "pack", FOLDER / "in", "-o", FOLDER / "data", "--no-disjoint"), 0)
    CONFIGURATION = FOLDER / "small.toml"
    CONFIGURATION.write_text(CONFIG)
    SETTINGS = [CONFIGURATION, "--set", f"data.root={FOLDER / 'data'}", "--set", f"run.out={FOLDER / 'run'}"]
    FOUND = FOLDER / "found.json"
    expect(run("syncdr", "embed", *SETTINGS, "--rows", "5", "--json", FOLDER / "embed.json"), 0, "32 images")


def tiff(width, height, pixel):
    """The simplest TIFF: RGB, not compressed, one strip."""
    pixels = bytes(value for y in range(height) for x in range(width) for value in pixel(x, y))
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + len(pixels)), (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height),
               (279, 4, 1, len(pixels))]
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 8 + len(pixels) + 6) + pixels + struct.pack("<3H", 8, 8, 8) + struct.pack("<H", len(entries)) + fields + bytes(4)


def stripes(x, y):
    return (10, 20, 30) if (x + 2 * y) // 4 % 2 else (250, 240, 230)


class Search(unittest.TestCase):
    def search(self, *arguments):
        return run("syncdr", "search", *SETTINGS, *arguments)

    def test_a_picture_of_the_gallery_finds_itself_first(self):
        figures = json.loads((FOLDER / "embed.json").read_text())
        self.assertEqual((figures["images"], figures["skipped"], figures["dim"]), (32, 0, 256), "the backbone's: an untrained encoder has no head")
        wanted = sorted((FOLDER / "in").rglob("*.png"))[:2]
        sheet = FOLDER / "sheet.html"
        said = self.search("--query", *wanted, "-k", "3", "--json", FOUND, "--sheet", sheet)
        expect(said, 0, "photo/category-00/0.png", "1.0000", "category-00")
        found = json.loads(FOUND.read_text())
        self.assertEqual((found["images"], found["k"], len(found["queries"]), found["model"]), (32, 3, 2, figures["model"]))
        for picture, answer in zip(wanted, found["queries"]):
            self.assertEqual([match["rank"] for match in answer["matches"]], [1, 2, 3])
            best = answer["matches"][0]
            self.assertEqual(best["name"], str(picture.relative_to(FOLDER / "in")))
            self.assertAlmostEqual(best["score"], 1, places=5)
            self.assertEqual((best["domain"], best["category_name"]), ("photo", "category-00"))
            scores = [match["score"] for match in answer["matches"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
        page = sheet.read_text()
        self.assertEqual(page.count("<img "), 2 * (1 + 3))
        self.assertEqual(page.count('src="data:image/jpeg;base64,'), 8, "the sheet holds its pictures")

    def test_other_formats_domains_and_splits(self):
        (FOLDER / "stripes.png").write_bytes(png(32, 32, stripes))
        (FOLDER / "stripes.tif").write_bytes(tiff(32, 32, stripes))
        expect(self.search("--query", FOLDER / "stripes.png", FOLDER / "stripes.tif", "--domain", "sketch", "--split", "test", "--json", FOUND), 0)
        as_png, as_tiff = json.loads(FOUND.read_text())["queries"]
        self.assertEqual(as_png["matches"], as_tiff["matches"])
        self.assertEqual({(match["domain"], match["split"]) for match in as_png["matches"]}, {("sketch", "test")})

    def test_wrong_input_is_named(self):
        good = FOLDER / "in/photo/category-00/0.png"
        (FOLDER / "film.gif").write_bytes(b"GIF89a" + bytes(20))
        (FOLDER / "note.png").write_text("no picture")
        shutil.copytree(FOLDER / "data", FOLDER / "other")
        with (FOLDER / "other/dataset.json").open("a") as manifest:
            manifest.write("\n")
        for code, said, arguments in (
                (2, "nothing to search with", []),
                (2, "-k 0", ["--query", good, "-k", "0"]),
                (2, "let its name end in .html", ["--query", good, "--sheet", "x.png"]),
                (2, "random weights know no texts", ["--text", "a dog"]),
                (2, 'the domain "paint", but of photo, sketch', ["--query", good, "--domain", "paint"]),
                (65, "film.gif: is a GIF; JPEG, PNG, WebP and TIFF are read", ["--query", FOLDER / "film.gif"]),
                (65, "note.png: is neither JPEG nor PNG", ["--query", good, FOLDER / "note.png"]),
                (65, "gone.png", ["--query", FOLDER / "gone.png"]),
                (65, "holds features of another model", ["--query", good, "--set", "seed=1"]),
                (65, "train.augment.crop = 32, now it is 24", ["--query", good, "--set", "train.augment.crop=24"]),
                (65, "features of another dataset than", ["--query", good, "--sheet", FOLDER / "x.html", "--set", f"data.root={FOLDER / 'other'}"]),
                (0, "names and categories are those of then", ["--query", good, "--set", f"data.root={FOLDER / 'other'}"]),
                (65, "`syncdr train CONFIG --arm cds` makes it", ["--query", good, "--arm", "cds"]),
                (65, "`syncdr embed` makes features", ["--query", good, "--features", FOLDER])):
            with self.subTest(said):
                expect(self.search(*arguments), code, said)
        with self.subTest("ranks"):
            expect(run("syncdr", "search", *SETTINGS, "--query", good, ranks=2), 2, "runs on one rank")
        with self.subTest("embed"):
            expect(run("syncdr", "embed", *SETTINGS, "--rows", "6"), 2, "rows = 5, now it is 6")


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([BIN / "syncdr", "serve", *map(str, SETTINGS), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      env={**os.environ, "OMP_NUM_THREADS": "1"})
        cls.addClassCleanup(cls.end)
        cls.address = cls.server.stdout.readline().strip()
        cls.port = urllib.parse.urlsplit(cls.address).port

    @classmethod
    def end(cls):
        cls.server.kill()
        cls.server.communicate()

    def ask(self, method, path, body=None, port=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=120)
        self.addCleanup(connection.close)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if response.getheader("Content-Type") == "application/json" else content

    def test_it_answers_as_search_does(self):
        picture = FOLDER / "in/sketch/category-02/1.png"
        status, answer = self.ask("POST", "/search?k=4&domain=sketch", picture.read_bytes())
        self.assertEqual(status, 200)
        expect(run("syncdr", "search", *SETTINGS, "--query", picture, "-k", "4", "--domain", "sketch", "--json", FOUND), 0)
        self.assertEqual(answer["matches"], json.loads(FOUND.read_text())["queries"][0]["matches"])
        best = answer["matches"][0]
        where = urllib.parse.urlencode({key: best[key] for key in ("domain", "split", "row")})
        self.assertEqual(self.ask("GET", f"/image?{where}"), (200, picture.read_bytes()))
        self.assertEqual(self.ask("GET", "/about")[1]["domains"], ["photo", "sketch"])

    def test_what_is_wrong_or_hostile_is_refused(self):
        body = (FOLDER / "in/photo/category-00/0.png").read_bytes()
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        for status, said, method, path, content, headers in (
                (400, "neither JPEG nor PNG", "POST", "/search", b"no picture", {}),
                (400, "the file is empty", "POST", "/search", b"", {}),
                (400, "claims 60000x60000 pixels", "POST", "/search", bomb, {}),
                (400, 'k = "0"', "POST", "/search?k=0", body, {}),
                (400, 'the domain "paint"', "POST", "/search?domain=paint", body, {}),
                (400, "no text side", "POST", "/search?text=a+dog", b"", {}),
                (404, 'of split "../val"', "GET", "/image?domain=photo&split=../val&row=0", None, {}),
                (404, "no image 999", "GET", "/image?domain=photo&split=train&row=999", None, {}),
                (400, "row", "GET", "/image?domain=photo&split=train&row=-1", None, {}),
                (403, "evil.example", "GET", "/", None, {"Host": "evil.example"}),
                (403, "evil.example", "POST", "/search", body, {"Origin": "http://evil.example"}),
                (403, "other sites", "GET", "/about", None, {"Sec-Fetch-Site": "cross-site"}),
                (404, "no such page", "GET", "/../../etc/passwd", None, {}),
                (404, "no such page", "POST", "/about", gzip.compress(body), {"Content-Encoding": "gzip"}),
                (415, "neither compressed", "POST", "/search", gzip.compress(body), {"Content-Encoding": "gzip"}),
                (415, "as a form", "POST", "/search", b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}),
                (405, "GET and POST", "DELETE", "/", None, {}),
                (411, "length", "POST", "/search", iter([body]), {"Transfer-Encoding": "chunked"})):
            with self.subTest(said, path=path):
                got, answer = self.ask(method, path, content, **headers)
                self.assertEqual(got, status, answer)
                self.assertIn(said, answer["error"])
        self.assertEqual(self.ask("GET", "/", Range="bytes=0-9"), (416, b""))
        self.assertEqual(self.ask("GET", "/", **{"Sec-Fetch-Site": "cross-site"})[0], 200, "a link from elsewhere")
        with urllib.request.urlopen(self.address + "/", timeout=120) as answer:
            self.assertEqual(answer.headers["Cross-Origin-Resource-Policy"], "same-origin")
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:  # refused before the body comes
            connection.sendall(f"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
            self.assertIn(b" 413 ", connection.recv(100))

    def test_a_taken_port_is_said_and_signals_end_it(self):
        expect(run("syncdr", "serve", *SETTINGS, "--port", self.port), 74, f"127.0.0.1:{self.port}: cannot be listened on: Address already in use")
        for number in (signal.SIGINT, signal.SIGTERM):
            other = subprocess.Popen([BIN / "syncdr", "serve", *map(str, SETTINGS), "--port", "0", "--domain", "sketch"], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
            self.addCleanup(other.kill)
            port = urllib.parse.urlsplit(other.stdout.readline().strip()).port
            for domain, status in (("sketch", 200), ("photo", 404)):  # what is not searched is not shown
                self.assertEqual(self.ask("GET", f"/image?domain={domain}&split=test&row=0", port=port)[0], status)
            other.send_signal(number)
            _, said = other.communicate(timeout=120)
            self.assertEqual(other.returncode, 0, said)
            self.assertIn("ended on request", said)

    @unittest.skipUnless(browser.PROGRAM, browser.WHY_NOT)
    def test_the_page_in_a_browser(self):
        page = browser.Browser()
        self.addCleanup(page.close)
        shots = os.environ.get("SYNCDR_SCREENSHOTS")
        found = "document.querySelectorAll('#found li').length === 10 && [...document.images].every(image => image.hidden || image.complete && image.naturalWidth > 0)"
        for width, height, scheme in ((1280, 900, "light"), (390, 844, "dark"), (1280, 900, "dark"), (390, 844, "light")):
            page.look(width, height, scheme)
            page.open(self.address + "/")
            page.wait("document.querySelectorAll('#domain option').length === 3")
            page.choose_file("#file", FOLDER / "in/sketch/category-01/2.png")
            page.wait(found)
            self.assertEqual(page.value("document.querySelector('#found small').textContent"), "sketch/category-01/2.png")
            self.assertIn("category-01", page.value("document.querySelector('#found b').textContent"))
            self.assertLessEqual(page.value("document.documentElement.scrollWidth"), width, "nothing stands out at the side")
            light = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(252, 252, 250)"
            self.assertEqual(light, scheme == "light")
            if shots:
                page.screenshot(pathlib.Path(shots) / f"serve-{width}-{scheme}.png")
        # By keyboard: the file comes first; a match is a link that searches with its picture.
        page.press("Tab", 9)
        self.assertEqual(page.value("document.activeElement.id"), "file")
        page.value("document.querySelectorAll('#found a')[1].focus()")
        name = page.value("document.querySelectorAll('#found small')[1].textContent")
        page.press("Enter", 13)
        page.wait("location.search.startsWith('?like=')")
        page.wait(found)
        self.assertEqual(page.value("document.querySelector('#found small').textContent"), name, "the link's picture finds itself")
        page.value("Object.assign(document.querySelector('#domain'), {value: 'photo'}).dispatchEvent(new Event('change'))")
        page.wait("[...document.querySelectorAll('#found small')].every(name => name.textContent.startsWith('photo/'))")
        self.assertEqual(page.complaints, [])
        # A picture that is none: said, and no matches are left.
        page.choose_file("#file", FOLDER / "small.toml")
        self.assertIn("neither JPEG nor PNG", page.wait("document.querySelector('#status.wrong')?.textContent"))
        self.assertEqual(page.value("document.querySelectorAll('#found li').length"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
