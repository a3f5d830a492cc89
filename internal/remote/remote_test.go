package remote

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// short are times that a test can wait for, with a total that none reaches.
var short = Times{Dial: 5 * time.Second, Header: 2 * time.Second, Window: 500 * time.Millisecond, Least: 64, Total: 20 * time.Second}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// raw is a server that answers every connection with what answer writes after
// the head of the request was read.
func raw(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadString('\n')
					if err != nil || strings.TrimSpace(line) == "" {
						break
					}
				}
				answer(conn)
			})
		}
	})
	return "http://" + l.Addr().String()
}

// wants checks that an error is a problem of a kind whose text has all words.
func wants(t *testing.T, err error, kind problem.Kind, words ...string) {
	t.Helper()
	p, ok := problem.As(err)
	if !ok {
		t.Fatalf("no problem: %v", err)
	}
	if p.Kind != kind {
		t.Errorf("kind %s, want %s: %v", p.Kind, kind, err)
	}
	for _, w := range words {
		if !strings.Contains(p.Error()+" "+p.Try, w) {
			t.Errorf("%q is not in %q, try %q", w, p.Error(), p.Try)
		}
	}
}

func TestAddressesAreRefused(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("was reached") })
	port := s.Listener.Addr().(*net.TCPAddr).Port
	c := New(Config{})
	for _, u := range []string{
		s.URL, fmt.Sprintf("http://localhost:%d/", port), fmt.Sprintf("http://[::ffff:127.0.0.1]:%d/", port), "http://169.254.169.254/latest/meta-data", "http://0.0.0.0:80/",
	} {
		_, err := c.Get(t.Context(), Get{URL: u, Limit: 10})
		wants(t, err, problem.Denied, "may not be dialled", "allow-networks")
	}
	if _, err := c.Dial(t.Context(), s.Listener.Addr().String()); err == nil {
		t.Error("Dial reached it")
	} else {
		wants(t, err, problem.Denied, "may not be dialled: it is this machine", "127.0.0.1/32")
	}
}

// A name is judged by the address that is dialled, not by itself.
func TestNameThatResolvesToLoopback(t *testing.T) {
	c := New(Config{})
	conn, err := c.Dial(t.Context(), "localhost:1")
	if err == nil {
		conn.Close()
		t.Fatal("was dialled")
	}
	wants(t, err, problem.Denied, "may not be dialled: it is this machine", "url localhost:1")
}

// The first server is allowed, what it leads to is not.
func TestRedirectToRefusedAddress(t *testing.T) {
	for _, to := range []string{"http://169.254.169.254/latest/meta-data/", "http://127.0.0.2:1/", "http://[fd00:ec2::254]/", "http://10.0.0.1/", "http://2130706433/", "ftp://127.0.0.1/"} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		c := New(Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
		_, err := c.Get(t.Context(), Get{URL: s.URL, Limit: 10})
		p, ok := problem.As(err)
		if !ok || p.Kind != problem.Denied && p.Kind != problem.Invalid {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/for/{n}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("%sx", r.URL.Path), http.StatusFound)
	})
	mux.HandleFunc("/301", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/308", http.StatusMovedPermanently) })
	mux.HandleFunc("/308", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/end", http.StatusPermanentRedirect)
	})
	mux.HandleFunc("/302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/301", http.StatusFound) })
	mux.HandleFunc("/nowhere", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://%zz")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/without", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusFound) })
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			t.Errorf("the referrer was told: %s", r.Referer())
		}
		fmt.Fprint(w, "end")
	})
	s := serve(t, mux.ServeHTTP)
	c := New(Config{AllowNetworks: loopback})
	_, err := c.Get(t.Context(), Get{URL: s.URL + "/loop?secret=hunter2", Limit: 10})
	wants(t, err, problem.Unavailable, "more than 5 times", "/loop?…")
	for _, path := range []string{"/nowhere", "/without"} {
		_, err = c.Get(t.Context(), Get{URL: s.URL + path, Limit: 10})
		wants(t, err, problem.Unavailable, "leads")
	}
	for path, moved := range map[string]string{"/301": s.URL + "/end", "/308": s.URL + "/end", "/302": "", "/end": ""} {
		d, err := c.Get(t.Context(), Get{URL: s.URL + path, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if d.MovedTo != moved || string(d.Body) != "end" || d.URL != s.URL+"/end" {
			t.Errorf("%s: moved to %q, body %q, URL %q", path, d.MovedTo, d.Body, d.URL)
		}
	}
}

func TestSlowServers(t *testing.T) {
	// Each writes until the client is gone, and hangs up no earlier.
	drip := func(head string) func(net.Conn) {
		return func(conn net.Conn) {
			fmt.Fprint(conn, head)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	}
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	whole := short
	whole.Window, whole.Total = time.Minute, 300*time.Millisecond
	for _, tc := range []struct {
		name   string
		answer func(net.Conn)
		times  Times
		says   string
	}{
		{"hangs before the answer", hang, short, "did not answer in time"},
		{"headers byte by byte", drip("HTTP/1.1 200 OK\r\nX-Long: "), short, "did not answer in time"},
		{"hangs in the body", func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"); hang(c) }, short, "came too slowly"},
		{"body byte by byte", drip("HTTP/1.1 200 OK\r\n\r\n"), short, "came too slowly"},
		{"too long as a whole", drip("HTTP/1.1 200 OK\r\n\r\n"), whole, "took too long as a whole"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := New(Config{AllowNetworks: loopback, Times: tc.times})
			_, err := c.Get(t.Context(), Get{URL: raw(t, tc.answer) + "/i?key=hunter2", Limit: 1 << 20})
			wants(t, err, problem.Unavailable, tc.says, "/i?…")
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// A reader that takes its time is not taken for a slow server.
func TestSlowReader(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
	times := short
	times.Window = 30 * time.Millisecond
	times.Least = 1 << 20
	c := New(Config{AllowNetworks: loopback, Times: times})
	r, err := c.Open(t.Context(), s.URL, "", 2000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	<-time.After(2 * times.Window) // is the reader's own work
	if b, err := io.ReadAll(r); err != nil || len(b) != 1000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestOddAnswers(t *testing.T) {
	say := func(text string) func(net.Conn) { return func(c net.Conn) { fmt.Fprint(c, text) } }
	for _, tc := range []struct {
		name   string
		answer func(net.Conn)
		kind   problem.Kind
		says   string
	}{
		{"shorter than it says", say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), problem.Unavailable, "ended in the middle"},
		{"chunks cut off", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), problem.Unavailable, "ended in the middle"},
		{"nothing", func(net.Conn) {}, problem.Unavailable, "ended in the middle"},
		{"no HTTP", say("220 mail.example.com ESMTP\r\n"), problem.Unavailable, "is not HTTP"},
		{"headers of 2 MB", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for i := range 2 << 10 {
				fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000))
			}
			fmt.Fprint(c, "\r\n")
		}, problem.TooLarge, "headers"},
		{"1xx without end", func(c net.Conn) {
			for range 100_000 {
				if _, err := fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"); err != nil {
					return
				}
			}
		}, problem.TooLarge, "headers"},
		{"gzip that is none", say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), problem.Invalid, "cannot be unpacked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := New(Config{AllowNetworks: loopback, Times: short})
			_, err := c.Get(t.Context(), Get{URL: raw(t, tc.answer), Limit: 1 << 20})
			wants(t, err, tc.kind, tc.says)
		})
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func TestSizes(t *testing.T) {
	bomb := gzipped(make([]byte, 4<<20))
	mux := http.NewServeMux()
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/packed", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped(bytes.Repeat([]byte("chart "), 1000)))
		}
	})
	s := serve(t, mux.ServeHTTP)
	c := New(Config{AllowNetworks: loopback})
	for _, path := range []string{"/bomb", "/endless"} {
		_, err := c.Get(t.Context(), Get{URL: s.URL + path, Limit: 1 << 20})
		wants(t, err, problem.TooLarge, "more than 1048576 bytes")
	}
	d, err := c.Get(t.Context(), Get{URL: s.URL + "/packed", Limit: 6000})
	if err != nil || len(d.Body) != 6000 || d.Transferred == 0 || d.Transferred > 200 {
		t.Errorf("packed: %d bytes of %d, %v", len(d.Body), d.Transferred, err)
	}
	_, err = c.Get(t.Context(), Get{URL: s.URL + "/packed", Limit: 5999})
	wants(t, err, problem.TooLarge)

	r, err := c.Open(t.Context(), s.URL+"/bomb", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, bomb) {
		t.Errorf("an archive was changed on its way: %d bytes, %v", len(b), err)
	}
	e, err := c.Open(t.Context(), s.URL+"/endless", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b, err := io.ReadAll(e)
	wants(t, err, problem.TooLarge, "more than 1048576 bytes")
	if len(b) != 1<<20 {
		t.Errorf("%d bytes were handed out", len(b))
	}
	says := raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n") })
	_, err = c.Open(t.Context(), says, "", 1<<20)
	wants(t, err, problem.TooLarge)
}

// A length that is too small cuts the body: its reader sees an index that ends
// in the middle, or a digest that does not match.
func TestLengthTooSmall(t *testing.T) {
	u := raw(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef") })
	c := New(Config{AllowNetworks: loopback, Times: short})
	for range 2 { // the rest must not be taken for the next answer
		d, err := c.Get(t.Context(), Get{URL: u, Limit: 100})
		if err != nil || string(d.Body) != "abc" {
			t.Fatalf("%v %v", d, err)
		}
	}
}

func TestConditional(t *testing.T) {
	const modified = "Wed, 21 Oct 2026 07:28:00 GMT"
	body := "one"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(body))
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:4])+`"`)
		w.Header().Set("Last-Modified", modified)
		if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.Header.Get("If-None-Match") != "" && r.Header.Get("If-Modified-Since") != modified {
			t.Errorf("If-Modified-Since: %q", r.Header.Get("If-Modified-Since"))
		}
		fmt.Fprint(w, body)
	})
	c := New(Config{AllowNetworks: loopback, UserAgent: "chartkeep/1.2.3"})
	d, err := c.Get(t.Context(), Get{URL: s.URL, Limit: 10})
	if err != nil || d.NotModified || string(d.Body) != "one" {
		t.Fatalf("%+v %v", d, err)
	}
	again := Get{URL: s.URL, Limit: 10, ETag: d.ETag, LastModified: d.LastModified}
	if d, err = c.Get(t.Context(), again); err != nil || !d.NotModified || len(d.Body) != 0 {
		t.Fatalf("%+v %v", d, err)
	}
	body = "two"
	if d, err = c.Get(t.Context(), again); err != nil || d.NotModified || string(d.Body) != "two" {
		t.Fatalf("%+v %v", d, err)
	}
	// 304 that nobody asked for is no answer.
	odd := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	_, err = c.Get(t.Context(), Get{URL: odd.URL, Limit: 10})
	wants(t, err, problem.Unavailable, "status 304")
}

// TestLastModified takes a time for a validator only when no later document can
// have the same.
func TestLastModified(t *testing.T) {
	const date, before = "Wed, 21 Oct 2026 07:28:01 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"
	for _, tt := range []struct{ modified, date, want string }{
		{before, date, before}, {date, date, ""}, {date, before, ""}, {before, "", ""}, {"yesterday", date, ""}, {"", date, ""},
	} {
		h := http.Header{}
		h.Set("Last-Modified", tt.modified)
		h.Set("Date", tt.date)
		if got := lastModified(h); got != tt.want {
			t.Errorf("modified %q, answered %q: %q, want %q", tt.modified, tt.date, got, tt.want)
		}
	}
}

func TestRefusal(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.URL.Query().Get("code"), &code)
		if v := r.URL.Query().Get("after"); v != "" {
			w.Header().Set("Retry-After", v)
		}
		if v := r.URL.Query().Get("reset"); v != "" {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", v)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, "<html>")
	})
	c := New(Config{AllowNetworks: loopback})
	for _, tc := range []struct {
		query string
		kind  problem.Kind
		says  string
		pause time.Duration
	}{
		{"code=401", problem.Denied, "wants a credential", 0},
		{"code=403", problem.Denied, "refuses access", 0},
		{fmt.Sprintf("code=403&reset=%d", time.Now().Add(30*time.Minute).Unix()), problem.Unavailable, "asked too often", 30 * time.Minute},
		{"code=403&reset=1", problem.Denied, "refuses access", 0},
		{"code=404", problem.NotFound, "there is nothing at", 0},
		{"code=410", problem.NotFound, "there is nothing at", 0},
		{"code=429&after=120", problem.Unavailable, "asked too often", 2 * time.Minute},
		{"code=503&after=" + url.QueryEscape(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), problem.Unavailable, "trouble of its own", time.Hour},
		{"code=503&after=99999999", problem.Unavailable, "trouble", 24 * time.Hour},
		{"code=503&after=-5", problem.Unavailable, "trouble", 0},
		{"code=503&after=soon", problem.Unavailable, "trouble", 0},
		{"code=500", problem.Unavailable, "trouble of its own", 0},
		{"code=418", problem.Unavailable, "refuses the request", 0},
	} {
		_, err := c.Get(t.Context(), Get{URL: s.URL + "/x?" + tc.query, Limit: 10})
		wants(t, err, tc.kind, tc.says, "/x?…")
		if got := RetryAfter(err); got > tc.pause || got < tc.pause-5*time.Second {
			t.Errorf("%s: pause of %s, want %s", tc.query, got, tc.pause)
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := New(Config{AllowNetworks: loopback})
	_, err = c.Get(t.Context(), Get{URL: "http://" + address + "/?a=hunter2", Limit: 10})
	wants(t, err, problem.Unavailable, "nobody listens at http://"+address)
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the secret: %v", err)
	}
	_, err = c.Get(t.Context(), Get{URL: "http://name.invalid/", Limit: 10})
	wants(t, err, problem.Unavailable, "name.invalid")
	_, err = c.Get(t.Context(), Get{URL: "http://user:hunter2@" + address, Limit: 10})
	wants(t, err, problem.Invalid, "user name or password in it")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the secret: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Get(ctx, Get{URL: "http://" + address, Limit: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPerHost(t *testing.T) {
	var now, most atomic.Int32
	entered, gate := make(chan struct{}, 12), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		entered <- struct{}{}
		<-gate
		now.Add(-1)
		fmt.Fprint(w, "ok")
	})
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	c := New(Config{AllowNetworks: loopback, PerHost: 3})
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if _, err := c.Get(t.Context(), Get{URL: s.URL, Limit: 10}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-entered
	}
	// All slots of the one host are held, and another host is free.
	if _, err := c.Get(t.Context(), Get{URL: other.URL, Limit: 10}); err != nil {
		t.Error(err)
	}
	for range 12 {
		gate <- struct{}{}
	}
	all.Wait()
	if most.Load() != 3 {
		t.Errorf("%d at once, want 3", most.Load())
	}
	// A slot that nobody gives back is waited for no longer than the context.
	one := New(Config{AllowNetworks: loopback, PerHost: 1})
	r, err := one.Open(t.Context(), other.URL, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = one.Get(ctx, Get{URL: other.URL, Limit: 10})
	wants(t, err, problem.Unavailable, "other requests")
	r.Close()
	r.Close()
	if _, err = one.Get(t.Context(), Get{URL: other.URL, Limit: 10}); err != nil {
		t.Error(err)
	}
	if n := len(one.hosts.by); n != 0 {
		t.Errorf("%d hosts are remembered", n)
	}
}
