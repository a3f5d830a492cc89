package remote

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestGuard(t *testing.T) {
	for _, tc := range []struct{ ip, is string }{
		{"8.8.8.8", ""}, {"1.1.1.1", ""}, {"172.15.255.255", ""}, {"172.32.0.0", ""}, {"100.63.255.255", ""}, {"100.128.0.0", ""},
		{"2606:4700::1111", ""}, {"2a00:1450:4001:80b::200e", ""}, {"::ffff:8.8.8.8", ""},
		{"64:ff9b::808:808", ""}, // 8.8.8.8 behind NAT64
		{"127.0.0.1", "this machine"}, {"127.255.255.254", "this machine"}, {"::1", "this machine"}, {"::ffff:127.0.0.1", "this machine"},
		{"0.0.0.0", "no address"}, {"::", "no address"}, {"0.1.2.3", "no address"},
		{"10.1.2.3", "private"}, {"172.16.0.1", "private"}, {"172.31.255.255", "private"}, {"192.168.1.1", "private"}, {"::ffff:10.0.0.1", "private"},
		{"fc00::1", "private"}, {"fd12:3456::1", "private"}, {"fec0::1", "private"},
		{"100.64.0.1", "carrier"}, {"100.127.255.255", "carrier"},
		{"169.254.169.254", "metadata"}, {"::ffff:169.254.169.254", "metadata"}, {"fd00:ec2::254", "metadata"}, {"168.63.129.16", "metadata"}, {"100.100.100.200", "metadata"},
		{"64:ff9b::a9fe:a9fe", "metadata"}, {"64:ff9b::7f00:1", "this machine"}, {"64:ff9b::a00:1", "private"},
		{"64:ff9b:1::a00:1", "not a public"},
		{"169.254.0.1", "link-local"}, {"fe80::1", "link-local"}, {"fe80::1%eth0", "link-local"},
		{"224.0.0.1", "multicast"}, {"ff02::1", "multicast"}, {"255.255.255.255", "reserved"}, {"240.0.0.1", "reserved"},
		{"2002:7f00:1::", "6to4"}, {"2001::1", "reserved"}, {"2001:db8::1", "documentation"}, {"192.0.2.1", "documentation"},
		{"::7f00:1", "not a public"}, {"100::1", "not a public"}, {"4000::1", "not a public"}, {"5f00::1", "not a public"},
	} {
		err := guard(nil).check(netip.MustParseAddr(tc.ip))
		p, _ := problem.As(err)
		switch {
		case tc.is == "" && err != nil:
			t.Errorf("%s: %v, want none", tc.ip, err)
		case tc.is != "" && (p == nil || p.Kind != problem.Denied || !strings.Contains(p.Message, tc.is) || !strings.Contains(p.Try, "allow-networks")):
			t.Errorf("%s: %v, want one that says %q", tc.ip, err, tc.is)
		}
	}
}

func TestGuardAllows(t *testing.T) {
	g := guard{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fe80::/64")}
	for ip, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "fe80::1%eth0": true,
		"10.2.0.1": false, "127.0.0.1": false, "64:ff9b::a02:1": false,
	} {
		if err := g.check(netip.MustParseAddr(ip)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", ip, err, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, tc := range []struct {
		url  string
		kind problem.Kind // "" for fine
	}{
		{"https://charts.example.com/x", ""},
		{"http://charts.example.com:8080", ""},
		{"https://8.8.8.8/", ""},
		{"https://1e100.net/", ""},
		{"https://example.c0/", ""},
		{"ftp://example.com/", problem.Invalid},
		{"file:///etc/passwd", problem.Invalid},
		{"http:opaque", problem.Invalid},
		{"https:///path", problem.Invalid},
		{"https://:443/", problem.Invalid},
		{"http://127.0.0.1/", problem.Denied},
		{"http://127.0.0.1./", problem.Denied},
		{"http://[::ffff:127.0.0.1]/", problem.Denied},
		{"http://[fe80::1%25eth0]/", problem.Denied},
		{"http://169.254.169.254/latest/meta-data", problem.Denied},
		{"http://localhost/", problem.Denied},
		{"http://a.LOCALHOST./", problem.Denied},
		{"http://2130706433/", problem.Invalid},
		{"http://0x7f000001/", problem.Invalid},
		{"http://0x7f.1/", problem.Invalid},
		{"http://127.1/", problem.Invalid},
		{"http://0177.0.0.01/", problem.Invalid},
		{"http://１２７.0.0.1/", problem.Invalid}, // digits of full width
		{"http://ⓛocalhost/", problem.Invalid},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		err = guard(nil).checkURL(u)
		if (tc.kind == "") != (err == nil) || err != nil && problem.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, want kind %q", tc.url, err, tc.kind)
		}
	}
	u, _ := url.Parse("http://localhost:1/")
	if err := (guard{netip.MustParsePrefix("127.0.0.0/8")}).checkURL(u); err != nil {
		t.Errorf("localhost with 127.0.0.0/8 allowed: %v", err)
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@h.example/a/b?token=x#f": "https://h.example/a/b?…",
		"https://h.example":                   "https://h.example",
		"oci://h.example/a":                   "oci://h.example/a",
		"mailto:secret@x":                     "mailto:…",
		"https://h.example/%zz":               "(not a URL)",
	} {
		if got := Shown(in); got != want {
			t.Errorf("Shown(%q) = %q, want %q", in, got, want)
		}
	}
}
