package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// The secret of the example that Standard Webhooks publishes.
const exampleSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestSignExample(t *testing.T) {
	key, err := parseSecret(exampleSecret)
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestParseSecret(t *testing.T) {
	random := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, ok := range map[string]bool{
		random(24): true, random(32): true, random(64): true,
		random(23): false, random(65): false, "": false, "whsec_": false, "whsec_%%": false, strings.TrimPrefix(random(32), "whsec_"): false,
	} {
		if _, err := parseSecret(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		} else if err != nil && (problem.KindOf(err) != problem.Unavailable || len(text) > 10 && strings.Contains(err.Error(), text[8:])) {
			t.Errorf("%q: the problem is %s: %v", text, problem.KindOf(err), err)
		}
	}
}

// verify checks a request as a receiver would, by the text of the
// specification and with nothing of this package.
func verify(h http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, strings.Join([]string{h.Get("webhook-id"), h.Get("webhook-timestamp"), string(body)}, "."))
	for _, s := range strings.Fields(h.Get("webhook-signature")) {
		version, text, _ := strings.Cut(s, ",")
		given, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature holds")
}

// receiver is a server and a sender with a route to it.
func receiver(t *testing.T, answer http.HandlerFunc) (*Sender, watch.Route) {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	c := client(t, map[string]string{"hook": exampleSecret}, credential("hook", host, "secret_file: hook"))
	return newSender(t, c, Mail{}), watch.Route{Name: "team", Kind: watch.RouteWebhook, Target: srv.URL + "/in?key=verysecret", Credential: "hook"}
}

func TestWebhook(t *testing.T) {
	var header http.Header
	var body []byte
	s, r := receiver(t, func(w http.ResponseWriter, req *http.Request) {
		header = req.Header
		body, _ = io.ReadAll(req.Body)
		if req.Method != http.MethodPost || req.URL.Query().Get("key") != "verysecret" {
			t.Errorf("%s %s", req.Method, req.URL)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := s.Send(t.Context(), r, delivery(story()...)); err != nil {
		t.Fatal(err)
	}
	if err := verify(header, body); err != nil {
		t.Error(err)
	}
	if verify(header, append(body, ' ')) == nil {
		t.Error("the check of this test accepts other bodies")
	}
	if header.Get("webhook-id") != "MSGID0000000000000000000001" || header.Get("webhook-timestamp") != "1795284120" || !strings.HasPrefix(header.Get("Content-Type"), "application/cloudevents-batch+json") {
		t.Errorf("headers %v", header)
	}
	// CloudEvents 1.0: what is required is there, and source and id tell events apart.
	var events []map[string]any
	if err := json.Unmarshal(body, &events); err != nil || len(events) != 3 {
		t.Fatalf("%d events: %v", len(events), err)
	}
	seen := map[any]bool{}
	for _, e := range events {
		for _, name := range []string{"specversion", "id", "source", "type", "time"} {
			if v, _ := e[name].(string); v == "" {
				t.Errorf("event without %s: %v", name, e)
			}
		}
		if e["specversion"] != "1.0" || seen[e["id"]] {
			t.Errorf("event %v", e)
		}
		seen[e["id"]] = true
	}
	var pretty any
	if err := json.Unmarshal(body, &pretty); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(pretty, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "webhook.json", append(text, '\n'))
}

func TestWebhookAnswers(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   problem.Kind // "" is success
		pause  time.Duration
	}{
		{"ok", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, "", 0},
		{"accepted, with much to say", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(202)
			w.Write(make([]byte, 1<<20))
		}, "", 0},
		{"gone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, problem.Gone, 0},
		{"broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "stack trace with a password", 500) }, problem.Unavailable, 0},
		{"not found yet", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, problem.Unavailable, 0},
		{"wrong secret", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, problem.Unavailable, 0},
		{"too often", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		}, problem.Unavailable, 2 * time.Minute},
		{"down until a date", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", evening.Add(time.Hour).Format(http.TimeFormat))
			w.WriteHeader(503)
		}, problem.Unavailable, time.Hour},
		{"odd pause", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "soon")
			w.WriteHeader(503)
		}, problem.Unavailable, 0},
		{"redirect", func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL, http.StatusTemporaryRedirect)
		}, problem.Unavailable, 0},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}, problem.Unavailable, 0},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "220 smtp.example.com\r\n")
				conn.Close()
			}
		}, problem.Unavailable, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, r := receiver(t, tt.answer)
			err := s.Send(t.Context(), r, delivery(story()[:1]...))
			if tt.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if problem.KindOf(err) != tt.kind {
				t.Fatalf("%s: %v", problem.KindOf(err), err)
			}
			if pause, _ := errors.AsType[watch.PauseError](err); time.Duration(pause) != tt.pause {
				t.Errorf("pause %s, want %s", time.Duration(pause), tt.pause)
			}
			if text := err.Error(); strings.Contains(text, "verysecret") || strings.Contains(text, "password") {
				t.Errorf("the problem shows a secret: %s", text)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestWebhookHangs(t *testing.T) {
	done := make(chan struct{})
	s, r := receiver(t, func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		select {
		case <-req.Context().Done():
		case <-done:
		}
	})
	defer close(done)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, r, delivery(story()...)); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("got %v", err)
	}
}

// What people can mend is tried again, and says what to mend.
func TestWebhookMisconfigured(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	c := client(t, map[string]string{"bad": "whsec_short", "good": exampleSecret},
		credential("bad", host, "secret_file: bad"), credential("none", host), credential("lost", host, "secret_file: lost"), credential("other", "hooks.example.com", "secret_file: good"), credential("good", host, "secret_file: good"))
	for _, tt := range []struct{ credential, target, rule string }{
		{"bad", srv.URL, "notify-secret"},
		{"none", srv.URL, "credential"},
		{"lost", srv.URL, "credential"},
		{"missing", srv.URL, "credential-unknown"},
		{"other", srv.URL, "credential-host"},
		{"good", "http://10.0.0.1/in", "remote-address"},
	} {
		err := newSender(t, c, Mail{}).Send(t.Context(), watch.Route{Name: "r", Kind: watch.RouteWebhook, Target: tt.target, Credential: tt.credential}, delivery(story()...))
		p, ok := problem.As(err)
		if !ok || p.Kind != problem.Unavailable || p.Rule != tt.rule || p.Try == "" && tt.credential != "lost" {
			t.Errorf("%s to %s: %+v", tt.credential, tt.target, p)
		}
	}
	// The guard is that of the one transport.
	strict := client(t, map[string]string{"good": exampleSecret}, credential("good", host, "secret_file: good"))
	closed := newSender(t, remote.New(remote.Config{}), Mail{})
	if err := closed.Send(t.Context(), watch.Route{Kind: watch.RouteSlack, Target: srv.URL}, delivery(story()...)); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "this machine") {
		t.Errorf("a private address: %v", err)
	}
	if asked != 0 {
		t.Errorf("%d requests were sent", asked)
	}
	if err := newSender(t, strict, Mail{}).Send(t.Context(), watch.Route{Kind: watch.RouteWebhook, Target: srv.URL, Credential: "good"}, delivery(story()...)); err != nil || asked != 1 {
		t.Errorf("the counter-check: %v, %d requests", err, asked)
	}
	if err := closed.Send(t.Context(), watch.Route{Kind: "pigeon"}, delivery()); problem.KindOf(err) != problem.Unsupported {
		t.Errorf("an unknown kind: %v", err)
	}
}

// The receiver of docs/notifications.md, run by a real shell and openssl.
func TestDocumentedCheck(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "notifications.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```sh\n# verify.sh")
	script, _, ended := strings.Cut(rest, "```")
	if !ok || !ended {
		t.Fatal("docs/notifications.md has no verify.sh")
	}
	for _, tool := range []string{"sh", "openssl", "base64", "od"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on this machine: the example of docs/notifications.md was not run", tool)
		}
	}
	s, r := receiver(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		file := filepath.Join(t.TempDir(), "body")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Error(err)
		}
		run := func(file, signature string) error {
			cmd := exec.CommandContext(req.Context(), "sh", "-s", file)
			cmd.Stdin = strings.NewReader("# verify.sh" + script)
			cmd.Env = append(os.Environ(), "SECRET="+exampleSecret, "ID="+req.Header.Get("webhook-id"), "TIMESTAMP="+req.Header.Get("webhook-timestamp"), "SIGNATURE="+signature, "NOW=1795284125")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Logf("%s", out)
			}
			return err
		}
		good := req.Header.Get("webhook-signature")
		if err := run(file, good); err != nil {
			t.Errorf("the documented check refuses what we sent: %v", err)
		}
		if run(file, "v1,AAAA"+good[7:]) == nil {
			t.Error("the documented check takes a wrong signature")
		}
		if err := os.WriteFile(file, append(body, '\n'), 0o600); err != nil || run(file, good) == nil {
			t.Errorf("the documented check takes another body: %v", err)
		}
	})
	if err := s.Send(t.Context(), r, delivery(story()...)); err != nil {
		t.Fatal(err)
	}
}

func TestListenerThatNeverAccepts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close() // nobody listens
	c := client(t, map[string]string{"hook": exampleSecret}, credential("hook", address, "secret_file: hook"))
	err = newSender(t, c, Mail{}).Send(t.Context(), watch.Route{Kind: watch.RouteWebhook, Target: "http://" + address, Credential: "hook"}, delivery(story()...))
	if problem.KindOf(err) != problem.Unavailable {
		t.Errorf("got %v", err)
	}
}
