package server

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func mustProxies(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	p, err := ParseTrustedProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientOf(t *testing.T) {
	const (
		xff    = "X-Forwarded-For"
		proto  = "X-Forwarded-Proto"
		host   = "X-Forwarded-Host"
		prefix = "X-Forwarded-Prefix"
	)
	for _, tt := range []struct {
		name     string
		remote   string
		host     string
		tls      bool
		header   []string // key, value, …
		external string
		proxies  []string
		addr     string
		base     string
		stripped bool
	}{
		{name: "direct", remote: "192.0.2.1:5", host: "keep.example:8080", addr: "192.0.2.1", base: "http://keep.example:8080"},
		{name: "direct tls", remote: "[2001:db8::1]:5", host: "keep.example", tls: true, addr: "2001:db8::1", base: "https://keep.example"},
		{name: "mapped address", remote: "[::ffff:192.0.2.1]:5", host: "h", addr: "192.0.2.1", base: "http://h"},
		{name: "zone", remote: "[fe80::1%eth0]:5", host: "h", addr: "fe80::1", base: "http://h"},
		{name: "no host", remote: "192.0.2.1:5", host: "", addr: "192.0.2.1", base: "http://localhost"},
		{name: "ipv6 host", remote: "192.0.2.1:5", host: "[::1]:8080", addr: "192.0.2.1", base: "http://[::1]:8080"},
		{
			name: "untrusted headers count for nothing", remote: "192.0.2.1:5", host: "h",
			header:  []string{xff, "10.9.9.9", proto, "https", host, "evil.example", prefix, "/x"},
			proxies: []string{"10.0.0.0/8"}, addr: "192.0.2.1", base: "http://h",
		},
		{
			name: "trusted", remote: "10.0.0.1:5", host: "internal",
			header:  []string{xff, "203.0.113.7", proto, "https", host, "keep.example", prefix, "/charts/"},
			proxies: []string{"10.0.0.0/8"}, addr: "203.0.113.7", base: "https://keep.example/charts", stripped: true,
		},
		{
			name: "client wrote the left part", remote: "10.0.0.1:5", host: "h",
			header:  []string{xff, "127.0.0.1, 203.0.113.7, 10.0.0.2"},
			proxies: []string{"10.0.0.0/8"}, addr: "203.0.113.7", base: "http://h",
		},
		{
			name: "several header lines", remote: "10.0.0.1:5", host: "h",
			header:  []string{xff, "1.1.1.1", xff, "203.0.113.7,10.0.0.2"},
			proxies: []string{"10.0.0.0/8"}, addr: "203.0.113.7", base: "http://h",
		},
		{
			name: "all trusted", remote: "10.0.0.1:5", host: "h", header: []string{xff, "10.0.0.3, 10.0.0.2"},
			proxies: []string{"10.0.0.0/8"}, addr: "10.0.0.3", base: "http://h",
		},
		{
			name: "garbage ends the walk", remote: "10.0.0.1:5", host: "h", header: []string{xff, "1.1.1.1, nonsense, 10.0.0.2"},
			proxies: []string{"10.0.0.0/8"}, addr: "10.0.0.2", base: "http://h",
		},
		{
			name: "address with port", remote: "10.0.0.1:5", host: "h", header: []string{xff, "[2001:db8::2]:443"},
			proxies: []string{"10.0.0.1"}, addr: "2001:db8::2", base: "http://h",
		},
		{
			name: "last of a list", remote: "10.0.0.1:5", host: "h",
			header:  []string{proto, "https, http", host, "evil.example, keep.example"},
			proxies: []string{"10.0.0.1"}, addr: "10.0.0.1", base: "http://keep.example",
		},
		{
			name: "bad values of a trusted proxy", remote: "10.0.0.1:5", host: "h",
			header:  []string{proto, "gopher", host, `a"b`, prefix, "/../x"},
			proxies: []string{"10.0.0.1"}, addr: "10.0.0.1", base: "http://h",
		},
		{
			name: "external wins", remote: "10.0.0.1:5", host: "bad host\"", external: "https://keep.example/base/",
			header:  []string{xff, "203.0.113.7", proto, "http", host, "other"},
			proxies: []string{"10.0.0.1"}, addr: "203.0.113.7", base: "https://keep.example/base",
		},
		{name: "no address", remote: "@", host: "h", header: []string{xff, "1.1.1.1"}, proxies: []string{"0.0.0.0/0", "::/0"}, addr: "", base: "http://h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Host = tt.remote, tt.host
			if tt.tls {
				r.TLS = new(tls.ConnectionState)
			}
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Add(tt.header[i], tt.header[i+1])
			}
			external, err := ParseExternalURL(tt.external)
			if err != nil {
				t.Fatal(err)
			}
			c, err := clientOf(r, external, mustProxies(t, tt.proxies...))
			if err != nil {
				t.Fatal(err)
			}
			if got := remote(c.addr); got != tt.addr {
				t.Errorf("addr = %q, want %q", got, tt.addr)
			}
			if c.base != tt.base {
				t.Errorf("base = %q, want %q", c.base, tt.base)
			}
			if c.stripped != tt.stripped {
				t.Errorf("stripped = %v, want %v", c.stripped, tt.stripped)
			}
			if c.secure != strings.HasPrefix(tt.base, "https:") {
				t.Errorf("secure = %v for %s", c.secure, tt.base)
			}
		})
	}
}

func TestParseExternalURLRefuses(t *testing.T) {
	for _, s := range []string{
		"keep.example", "ftp://keep.example", "https://", "https://a b", "https://u:p@keep.example", "https://keep.example?x=1",
		"https://keep.example/#f", "https://keep.example/a//b", "https://keep.example/../a", `https://keep.example/"`, "https://keep.example:99999999", "://",
	} {
		if u, err := ParseExternalURL(s); err == nil {
			t.Errorf("ParseExternalURL(%q) = %v, want an error", s, u)
		}
	}
	for _, s := range []string{"10.0.0.0/99", "proxy", "", "10.0.0.0/8,10.1.0.0/16"} {
		if p, err := ParseTrustedProxies([]string{s}); err == nil {
			t.Errorf("ParseTrustedProxies(%q) = %v, want an error", s, p)
		}
	}
}

// FuzzClientOf holds that whatever a client and its proxies say, the base URL
// is a URL of its own host, without anything that ends a quoted string.
func FuzzClientOf(f *testing.F) {
	f.Add("keep.example:80", "1.2.3.4, 10.0.0.1", "https", "h:1", "/a")
	f.Add(`a"b`, "[::1]:4", "http", "[::1]", "/a/../b")
	f.Add("[fe80::1%25x]", ",,,", "", "a,b", "//")
	f.Fuzz(func(t *testing.T, host, xff, proto, xhost, prefix string) {
		r := &http.Request{Host: host, RemoteAddr: "10.0.0.1:1", Header: http.Header{
			"X-Forwarded-For": {xff}, "X-Forwarded-Proto": {proto}, "X-Forwarded-Host": {xhost}, "X-Forwarded-Prefix": {prefix},
		}}
		c, _ := clientOf(r, nil, mustProxies(t, "10.0.0.0/8"))
		u, err := url.Parse(c.base)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Path != c.contextPath || strings.ContainsAny(c.base, "\"'<>\\ \r\n") {
			t.Fatalf("base %q: %v", c.base, err)
		}
		if strings.HasSuffix(c.base, "/") {
			t.Fatalf("base %q ends in a slash", c.base)
		}
	})
}
