package daemon

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// browser opens pages and sends their forms, as a browser without scripts does.
type browser struct {
	p      *protected
	client *http.Client
	page   []byte // the last one
	path   string // of it, after redirects
	status int
}

// pageForm is a form as it would be sent: its hidden fields, the first choice of
// each list, and what presses its buttons.
type pageForm struct {
	action  string
	fields  url.Values
	buttons map[string]url.Values // by words
}

func (p *protected) browse(token string) *browser {
	p.Helper()
	jar, err := cookiejar.New(nil)
	p.ok(err)
	b := &browser{p: p, client: &http.Client{Jar: jar}}
	b.open("/ui/sign-in")
	b.send("Sign in with token", url.Values{"token": {token}})
	if b.status != 200 || !b.says("Signed in until") && !b.says("Sign out") {
		p.Fatalf("sign in: %d\n%s", b.status, b.page)
	}
	return b
}

func (b *browser) do(r *http.Request, err error) {
	b.p.Helper()
	b.p.ok(err)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.client.Do(r)
	b.p.ok(err)
	defer res.Body.Close()
	b.page, err = io.ReadAll(res.Body)
	b.p.ok(err)
	b.status, b.path = res.StatusCode, res.Request.URL.Path
}

func (b *browser) open(path string) {
	b.p.Helper()
	b.do(http.NewRequestWithContext(b.p.Context(), "GET", b.p.d.URL()+path, nil))
}

func (b *browser) post(action string, fields url.Values) {
	b.p.Helper()
	r, err := http.NewRequestWithContext(b.p.Context(), "POST", b.p.d.URL()+action, strings.NewReader(fields.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.do(r, err)
}

// send fills in the form with a button of these words on the page, and presses it.
func (b *browser) send(button string, fill url.Values) {
	b.p.Helper()
	for _, f := range b.forms() {
		pressed, ok := f.buttons[button]
		if !ok {
			continue
		}
		for _, more := range []url.Values{fill, pressed} {
			for name, values := range more {
				f.fields[name] = values
			}
		}
		b.post(f.action, f.fields)
		return
	}
	b.p.Fatalf("%s has no button %q:\n%s", b.path, button, b.words())
}

// has says whether there is a button of these words.
func (b *browser) has(button string) bool {
	return slices.ContainsFunc(b.forms(), func(f pageForm) bool { return f.buttons[button] != nil })
}

func (b *browser) forms() []pageForm {
	b.p.Helper()
	var out []pageForm
	var at *pageForm
	var button, list string
	var words strings.Builder
	var press url.Values
	for d := xml.NewDecoder(bytes.NewReader(b.page)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return out
		}
		b.p.ok(err)
		switch token := token.(type) {
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Name.Local] = a.Value
			}
			switch {
			case token.Name.Local == "form":
				at = &pageForm{attr["action"], url.Values{}, map[string]url.Values{}}
			case at == nil:
			case token.Name.Local == "input" && attr["type"] != "checkbox":
				at.fields.Set(attr["name"], attr["value"])
			case token.Name.Local == "select":
				list = attr["name"]
			case token.Name.Local == "option" && list != "" && (!at.fields.Has(list) || attr["selected"] != ""):
				at.fields.Set(list, attr["value"])
			case token.Name.Local == "button" && attr["disabled"] == "":
				button, press = "button", url.Values{}
				words.Reset()
				if attr["name"] != "" {
					press.Set(attr["name"], attr["value"])
				}
			}
		case xml.CharData:
			if button != "" {
				words.Write(token)
			}
		case xml.EndElement:
			switch {
			case token.Name.Local == "button" && at != nil && button != "":
				at.buttons[strings.Join(strings.Fields(words.String()), " ")], button = press, ""
			case token.Name.Local == "select":
				list = ""
			case token.Name.Local == "form" && at != nil:
				out, at = append(out, *at), nil
			}
		}
	}
}

// words is the text of the page.
func (b *browser) words() string {
	var text strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(b.page)); ; {
		token, err := d.Token()
		if err != nil {
			return strings.Join(strings.Fields(text.String()), " ")
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.EndElement: // words of two blocks are two words
			if slices.Contains([]string{"dt", "dd", "th", "td", "p", "li", "h1", "h2", "h3"}, token.Name.Local) {
				text.WriteByte(' ')
			}
		}
	}
}

func (b *browser) says(words string) bool { return strings.Contains(b.words(), words) }

// expect fails unless the page has this status and says all of this.
func (b *browser) expect(status int, words ...string) {
	b.p.Helper()
	for _, w := range words {
		if b.status != status || !b.says(w) {
			b.p.Fatalf("%s: %d, want %d and %q:\n%s", b.path, b.status, status, w, b.words())
		}
	}
}

// TestTwoPeopleOnPages asks, approves and looks at the effect and its leaf, by
// nothing but pages and their forms.
func TestTwoPeopleOnPages(t *testing.T) {
	p := startProtected(t)
	ctx := t.Context()
	_, err := p.admin.CreateProject(ctx, client.NewProject{Name: "team/demo", Public: true})
	p.ok(err)
	for _, version := range []string{"1.0.0", "1.0.1"} {
		archive := charttest.Build(t, "web", version, map[string]string{"values.yaml": "key: " + version})
		_, err := p.ann.Push(ctx, "team/demo", client.Upload{Archive: bytes.NewReader(archive), Size: int64(len(archive))})
		p.ok(err)
	}
	_, err = p.admin.CreateAccount(ctx, "carl", "user", "")
	p.ok(err)
	_, ownerToken := p.person("olga", "project-owner")
	_, bobToken := p.person("bea", "approver")
	_, annToken := p.person("max", "maintainer")
	max, bea, olga := p.browse(annToken), p.browse(bobToken), p.browse(ownerToken)
	const rel = "/ui/projects/team/demo/charts/web/1.0.0"
	pull := func(want int) {
		t.Helper()
		if status, _, body := p.ask(false, "GET", "/team/demo/charts/web-1.0.0.tgz", nil); status != want {
			t.Fatalf("the archive: %d, want %d: %.200s", status, want, body)
		}
	}

	// Quarantine: one acts, another confirms.
	pull(200)
	max.open(rel)
	max.send("Quarantine web 1.0.0 now", url.Values{"reason": {"malware"}, "text": {"opens a <shell>"}})
	max.expect(200, "In quarantine: it does what nobody who installs it wants", "“opens a <shell>”", "You set it, and it takes a second person")
	pull(403)
	max.post(rel+"/quarantine", url.Values{"do": {"confirm"}})
	max.expect(403, "Nothing was changed.", "This needs two people, and the first one was you")
	bea.open("/ui/requests")
	bea.expect(200, "team/demo/web@1.0.0", "opens a <shell>", "confirm or lift")
	bea.open(rel)
	bea.send("Confirm the quarantine", url.Values{"text": {"seen"}})
	bea.expect(200, "Confirmed by bea")
	max.open(rel)
	if max.has("Lift it, serve 1.0.0 again") {
		t.Error("who set a quarantine may lift it after it was confirmed")
	}
	bea.open(rel)
	bea.send("Lift it, serve 1.0.0 again", nil)
	bea.expect(200, "Released")
	pull(200)

	// Tombstone: asked for by one, approved by another, with its leaf.
	max.open(rel)
	max.send("Ask for a tombstone", url.Values{"reason": {"secret"}, "text": {"holds a key"}})
	max.expect(200, "waits for a second person", "You asked for it, and it takes two people")
	request := max.path
	max.post(request, url.Values{"do": {"approve"}})
	max.expect(403, "may not approve a tombstone")
	pull(200)
	bea.open("/ui/requests")
	bea.expect(200, "holds a key")
	number := request[strings.LastIndexByte(request, '/')+1:]
	bea.send("Approve request "+number, url.Values{"text": {"I saw it"}})
	if bea.path != request {
		t.Fatalf("approved, and then at %s", bea.path)
	}
	bea.expect(200, "done", "Decided by bea", "“I saw it”")
	pull(410)
	bea.open(rel)
	bea.expect(200, "Gone for good", "Asked for by max, approved by bea")
	_, after, _ := strings.Cut(string(bea.page), `of the log.`)
	if after == "" {
		t.Fatal("the page names no entry")
	}
	before, _, _ := strings.Cut(string(bea.page), "of the log.")
	at := strings.LastIndex(before, `href="/ui/log/`)
	leaf, _, _ := strings.Cut(before[at+len(`href="`):], `"`)
	bea.open(leaf)
	bea.expect(200, "tombstone", "web", "1.0.0")

	// A stricter policy counts at once; a weaker one takes two people and a day.
	const policy = "/ui/policy/team/demo"
	olga.open(policy)
	olga.send("See what it comes to", url.Values{"document": {"require_provenance: true"}})
	olga.expect(200, "Not weaker: it would count at once", "team/demo/web@1.0.1", "it lacks a provenance file")
	olga.send("Set this policy", url.Values{"text": {"agreed"}})
	olga.expect(200, "A release stays invisible until its provenance file has arrived.", "olga", "not weaker", "Stated by entry")
	olga.send("See what it comes to", url.Values{"document": {"require_provenance: false"}})
	olga.expect(200, "Weaker: it lets more through", "Releases no longer wait for a provenance file", "waits for 1 d")
	olga.send("Ask for this policy", url.Values{"text": {"the signer left"}})
	olga.expect(200, "waits for a second person", "You asked for it")
	request = olga.path
	bea.open(policy)
	bea.expect(200, "A release stays invisible", "the signer left")
	bea.open(request)
	bea.send("Approve request "+request[strings.LastIndexByte(request, '/')+1:], nil)
	bea.expect(200, "approved, waits for its time", "Takes effect", "in 23 h")
	olga.open(policy)
	olga.expect(200, "A release stays invisible", "approved, waits for its time")
	olga.send("Take request "+request[strings.LastIndexByte(request, '/')+1:]+" back", url.Values{"text": {"she is back"}})
	olga.expect(200, "taken back", "she is back")

	// Members: given and taken by the owner, refused for the maintainer.
	const access = "/ui/access/team/demo"
	olga.open(access)
	olga.send("Give the role", url.Values{"account": {"carl"}, "role": {"publisher"}, "days": {"30"}})
	olga.expect(200, "carl account publisher", "this project")
	max.open(access)
	max.expect(403, "max may not read")
	olga.send("Take publisher from carl", nil)
	if olga.status != 200 || olga.says("carl account") {
		t.Errorf("taken: %d %s", olga.status, olga.words())
	}

	// Another site's form does nothing.
	r, err := http.NewRequestWithContext(ctx, "POST", p.d.URL()+access, strings.NewReader("do=give&account=carl&role=publisher"))
	p.ok(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://evil.example")
	res, err := olga.client.Do(r)
	p.ok(err)
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another site: %d", res.StatusCode)
	}
}
