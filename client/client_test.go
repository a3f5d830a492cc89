package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// roundTrip answers requests without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answering(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	return through(t, func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h(w, r)
		res := w.Result()
		res.Request = r
		return res, nil
	})
}

func through(t *testing.T, f roundTrip) *Client {
	t.Helper()
	c, err := New("https://keep.example/base/", "ckt_x", Options{HTTP: &http.Client{Transport: f}, UserAgent: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestNewRefuses(t *testing.T) {
	for _, s := range []string{"", "keep.example", "ftp://keep.example", "https://", "https://u:p@keep.example", "https://keep.example?x", "https://keep.example#x", "http://[::1"} {
		if _, err := New(s, "", Options{}); problem.KindOf(err) != problem.Invalid {
			t.Errorf("New(%q) = %v", s, err)
		}
	}
	for _, token := range []string{"ckt_x\n", "ckt x", "ckt_\x00", "ckt_ä"} {
		if _, err := New("https://keep.example", token, Options{}); problem.KindOf(err) != problem.Invalid || strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestRequest(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.String() != "https://keep.example/base/api/v1/projects/team-a/web" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		for k, want := range map[string]string{"Authorization": "Bearer ckt_x", "User-Agent": "test/1", "Accept": "application/json"} {
			if got := r.Header.Get(k); got != want {
				t.Errorf("%s: %q, want %q", k, got, want)
			}
		}
		writeJSON(w, 200, `{"schema":"project/v1","name":"team-a/web","new_field":1}`)
	})
	p, err := c.Project(t.Context(), "team-a/web")
	if err != nil || p.Name != "team-a/web" {
		t.Errorf("%+v, %v", p, err)
	}
	anonymous := through(t, func(r *http.Request) (*http.Response, error) {
		if _, ok := r.Header["Authorization"]; ok {
			t.Error("a client without a token sends a credential")
		}
		return nil, errors.New("enough")
	})
	anonymous.token = ""
	_ = anonymous.RevokeToken(t.Context(), "x")
}

// A refusal has to come before a large archive is sent.
func TestLargeUploadsAskFirst(t *testing.T) {
	for size, want := range map[int64]string{-1: "100-continue", 3 << 20: "100-continue", 5: ""} {
		c := through(t, func(r *http.Request) (*http.Response, error) {
			if got := r.Header.Get("Expect"); got != want {
				t.Errorf("size %d: Expect %q, want %q", size, got, want)
			}
			return nil, errors.New("enough")
		})
		_, _ = c.Push(t.Context(), "a", Upload{Archive: strings.NewReader("bytes"), Size: size})
	}
}

// A name that is more than a name must not become another path.
func TestNamesCannotNameOtherPaths(t *testing.T) {
	c := through(t, func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent %s %s", r.Method, r.URL)
		return nil, errors.New("no")
	})
	ctx := t.Context()
	for _, name := range []string{"", "a/-/remove", "-", "..", "a/../b", "a//b", "/a", "a/", `a\b`} {
		for what, err := range map[string]error{
			"project": func() error { _, err := c.Project(ctx, name); return err }(),
			"remove":  c.RemoveProject(ctx, name, "x"),
			"push":    func() error { _, err := c.Push(ctx, name, Upload{}); return err }(),
			"chart":   func() error { _, err := c.Releases(ctx, "a", name, Page{}); return err }(),
			"version": func() error { _, err := c.Yank(ctx, "a", "b", name, "", ""); return err }(),
			"file":    func() error { _, err := c.Archive(ctx, "a", name, 1); return err }(),
			"account": c.DisableAccount(ctx, name),
			"token":   c.RevokeToken(ctx, name),
		} {
			if problem.KindOf(err) != problem.Invalid {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}

// FuzzPath holds that a path built from names is taken apart into the same
// names.
func FuzzPath(f *testing.F) {
	f.Add("team-a/web", "nginx", "1.2.3+b")
	f.Add("a%2fb", "c?d", "e#f")
	f.Add("a/-/b", "..", "%2e%2e")
	f.Fuzz(func(t *testing.T, project, chartName, version string) {
		path, err := releasePath(project, chartName, version)
		if err != nil {
			return
		}
		u, err := url.Parse("https://keep.example" + path)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "keep.example" {
			t.Fatalf("%q: %v", path, err)
		}
		if want := "/projects/" + project + "/-/charts/" + chartName + "/releases/" + version; u.Path != want {
			t.Fatalf("%q is %q, want %q", path, u.Path, want)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		kind                    problem.Kind
		message                 string
	}{
		{"problem", "application/json", `{"schema":"error/v1","kind":"immutable","rule":"overwrite","message":"it exists","facts":[{"label":"a","value":"b"}],"try":"x","request_id":"r"}`, 409, problem.Immutable, "it exists (a b)"},
		{"proxy", "text/html", "<html>", 502, problem.Unavailable, "the server answered 502 Bad Gateway"},
		{"login page", "text/html", "<html>", 401, problem.Unauthenticated, "the server answered 401"},
		{"forbidden", "", "", 403, problem.Denied, "the server answered 403"},
		{"unknown kind", "application/json", `{"schema":"error/v1","kind":"odd","message":"m"}`, 409, problem.Conflict, "the server answered 409"},
		{"another form", "application/json", `{"error":"m"}`, 400, problem.Invalid, "the server answered 400"},
		{"no message", "application/json", `{"schema":"error/v1","kind":"gone"}`, 410, problem.Gone, "the server answered 410"},
		{"a kind that only the server can know", "application/json", `{"kind":"disproven","message":"m"}`, 500, problem.Unavailable, "the server answered 500"},
		{"redirect", "", "", 302, problem.Unavailable, "the server answered 302 Found (server https://keep.example/base, location https://evil.example/)"},
		{"teapot", "", "", 418, problem.Unavailable, "the server answered 418"},
		{"odd status", "", "", 599, problem.Unavailable, "the server answered 599"},
		{"long", "application/json", `{"schema":"error/v1","kind":"immutable","message":"` + strings.Repeat("x", maxError) + `"}`, 409, problem.Conflict, "the server answered 409"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			c := answering(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if r.URL.Host != "keep.example" {
					t.Errorf("sent to %s", r.URL)
				}
				w.Header().Set("Content-Type", tt.contentType)
				w.Header().Set("Location", "https://evil.example/")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			err := c.RevokeToken(t.Context(), "x")
			p, ok := errors.AsType[*problem.Error](fmt.Errorf("wrapped: %w", err))
			if !ok || p.Kind != tt.kind || !strings.HasPrefix(p.Error(), tt.message) {
				t.Errorf("%v", err)
			}
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

func TestForeignAnswers(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"html":         func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"other json":   func(w http.ResponseWriter) { writeJSON(w, 200, `{"name":"a"}`) },
		"other schema": func(w http.ResponseWriter) { writeJSON(w, 200, `{"schema":"project/v2","name":"a"}`) },
		"wrong type":   func(w http.ResponseWriter) { writeJSON(w, 200, `{"schema":"project/v1","name":1}`) },
		"json as text": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"schema":"project/v1","name":"a"}`) },
		"broken":       func(w http.ResponseWriter) { writeJSON(w, 200, `{"schema":"project/v1","name":"a"`) },
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, func(w http.ResponseWriter, r *http.Request) { answer(w) })
			_, err := c.SetProject(t.Context(), "a", ProjectChange{})
			if p, ok := problem.As(err); !ok || p.Rule != "answer" || p.Kind != problem.Unavailable {
				t.Errorf("%v", err)
			}
		})
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestLimits(t *testing.T) {
	c := through(t, func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(endless{})}, nil
	})
	if _, err := c.Project(t.Context(), "a"); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("a large answer: %v", err)
	}
	if _, err := c.Provenance(t.Context(), "a", "x.tgz"); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("a large provenance: %v", err)
	}
	if _, err := c.Checkpoint(t.Context()); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("a large checkpoint: %v", err)
	}
	for _, tt := range []struct {
		limit int64
		ok    bool
	}{{9, false}, {10, true}, {11, true}, {0, false}} {
		c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/base/team-a/web/charts/x-1.0.0+b.tgz" {
				t.Errorf("path %s", r.URL.Path)
			}
			_, _ = io.WriteString(w, "0123456789")
		})
		body, err := c.Archive(t.Context(), "team-a/web", "x-1.0.0+b.tgz", tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		_ = body.Close()
		if tt.ok != (err == nil) || int64(len(b)) != min(tt.limit, 10) || !tt.ok && problem.KindOf(err) != problem.TooLarge {
			t.Errorf("limit %d: %q, %v", tt.limit, b, err)
		}
	}
}

func TestRetries(t *testing.T) {
	refused := errors.New("connection refused")
	for _, tt := range []struct {
		name    string
		method  string
		answers []int // a status each; 0 is a connection that fails
		calls   int
		took    time.Duration
		ok      bool
	}{
		{"at once", "GET", []int{200}, 1, 0, true},
		{"network, then fine", "GET", []int{0, 200}, 2, pauses[0], true},
		{"unavailable twice", "GET", []int{503, 502, 200}, 3, pauses[0] + pauses[1], true},
		{"never", "GET", []int{503, 504, 0, 200}, 3, pauses[0] + pauses[1], false},
		{"not found", "GET", []int{404, 200}, 1, 0, false},
		{"internal", "GET", []int{500, 200}, 1, 0, false},
		{"too many attempts", "GET", []int{429, 200}, 1, 0, false},
		{"a write is not repeated", "POST", []int{503, 200}, 1, 0, false},
		{"nor after the network failed", "POST", []int{0, 200}, 1, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := through(t, func(r *http.Request) (*http.Response, error) {
					status := tt.answers[calls]
					calls++
					if status == 0 {
						return nil, refused
					}
					w := httptest.NewRecorder()
					writeJSON(w, status, `{"schema":"project/v1","name":"a"}`)
					return w.Result(), nil
				})
				start := time.Now()
				var err error
				if tt.method == "GET" {
					_, err = c.Project(t.Context(), "a")
				} else {
					_, err = c.CutOver(t.Context(), "a")
				}
				if calls != tt.calls || time.Since(start) != tt.took || tt.ok != (err == nil) {
					t.Errorf("%d calls in %s: %v", calls, time.Since(start), err)
				}
				if tt.answers[calls-1] == 0 && (problem.KindOf(err) != problem.Unavailable || !errors.Is(err, refused)) {
					t.Errorf("the network's error came as %v", err)
				}
			})
		})
	}
}

func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		calls := 0
		c := through(t, func(r *http.Request) (*http.Response, error) { calls++; return nil, errors.New("no") })
		if _, err := c.Project(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		c = through(t, func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })
		if _, err := c.Project(ended, "a"); err != context.Canceled {
			t.Errorf("%v", err)
		}
	})
}

func TestAllStops(t *testing.T) {
	calls := 0
	list := func(_ context.Context, p Page) (List[int], error) {
		calls++
		switch p.After {
		case "":
			return List[int]{Items: []int{1, 2}, Next: "2"}, nil
		case "2":
			return List[int]{Items: []int{3}, Next: "2"}, nil
		}
		return List[int]{}, errors.New("asked for " + p.After)
	}
	var got []int
	var last error
	for n, err := range All(t.Context(), list) {
		if err != nil {
			last = err
			continue
		}
		got = append(got, n)
	}
	if len(got) != 2 || problem.KindOf(last) != problem.Unavailable {
		t.Errorf("a list that does not end: %v, %v", got, last)
	}
	calls = 0
	for range All(t.Context(), list) {
		break
	}
	if calls != 1 {
		t.Errorf("%d calls for one item", calls)
	}
}

// FuzzAnswer holds that no answer makes the client panic, and that every
// refusal is a problem.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"schema":"log-consistency/v1","hashes":["AAAA"]}`)
	f.Add(200, "application/json", `{"schema":"log-consistency/v1","hashes":["`+strings.Repeat("A", 43)+`="]}`)
	f.Add(409, "application/json", `{"schema":"error/v1","kind":"immutable","message":"m","facts":[{}]}`)
	f.Add(302, "", "")
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		if status < 200 || status > 599 || status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout {
			return
		}
		c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		if _, err := c.Consistency(t.Context(), 1, 2); err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatalf("%v", err)
			}
		}
	})
}
