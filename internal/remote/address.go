package remote

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// special are the networks of the IANA special-purpose registries (RFC 6890
// and its successors) that no upstream has its public address in, with the
// words for people. The first that fits is the answer.
var special = []struct {
	net netip.Prefix
	is  string
}{
	{netip.MustParsePrefix("169.254.169.254/32"), "the metadata service of a cloud"},
	{netip.MustParsePrefix("169.254.170.2/32"), "the metadata service of a cloud"},
	{netip.MustParsePrefix("168.63.129.16/32"), "the metadata service of a cloud"}, // a public address that only Azure's own machines reach
	{netip.MustParsePrefix("100.100.100.200/32"), "the metadata service of a cloud"},
	{netip.MustParsePrefix("192.0.0.192/32"), "the metadata service of a cloud"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "the metadata service of a cloud"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "the metadata service of a cloud"},

	{netip.MustParsePrefix("0.0.0.0/8"), "no address of a host"},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private network"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a network shared behind a carrier's NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private network"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved for protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a relay of 6to4"},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private network"},
	{netip.MustParsePrefix("198.18.0.0/15"), "reserved for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "no address of a host"},
	{netip.MustParsePrefix("::1/128"), "this machine"},
	{netip.MustParsePrefix("fc00::/7"), "a private network"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "a private network"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("2001::/23"), "reserved for protocols"},
	{netip.MustParsePrefix("2001:db8::/32"), "reserved for documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4, which hides another address"},
	{netip.MustParsePrefix("3fff::/20"), "reserved for documentation"},
}

var (
	// public is all of IPv6 that is handed out (RFC 4291 §2.4).
	public = netip.MustParsePrefix("2000::/3")
	// nat64 carries an IPv4 address in its last four bytes (RFC 6052). Behind
	// DNS64 every IPv4 host is reached that way, so the address inside counts.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// guard says which addresses may be dialled. Its prefixes are allowed beside
// the public addresses.
type guard []netip.Prefix

// check refuses an address with a problem of kind Denied.
func (g guard) check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	inner := ip
	if nat64.Contains(ip) {
		b := ip.As16()
		inner = netip.AddrFrom4([4]byte(b[12:]))
	}
	is := meaning(inner)
	if is == "" {
		return nil
	}
	for _, p := range g {
		if p.Contains(ip) || p.Contains(inner) {
			return nil
		}
	}
	return problem.New(problem.Denied, "remote-address", "the address %s may not be dialled: it is %s", ip, is).
		Suggest("if this is meant to be reached, allow it with the setting allow-networks: %s", netip.PrefixFrom(inner, inner.BitLen()))
}

// meaning says what an address is that is not public, "" for a public one.
func meaning(ip netip.Addr) string {
	for _, s := range special {
		if s.net.Contains(ip) {
			return s.is
		}
	}
	if ip.Is6() && !public.Contains(ip) {
		return "not a public address"
	}
	return ""
}

// checkURL refuses a URL before anything is looked up: schemes other than
// HTTP's, hosts that are addresses which may not be dialled, and names that
// always mean this machine. Behind a proxy this is all that can be checked.
func (g guard) checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return problem.New(problem.Invalid, "remote-url", "%q is not a URL of http or https", shown(u))
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	if host == "" {
		return problem.New(problem.Invalid, "remote-url", "%q names no host", shown(u))
	}
	for i := range len(host) {
		// Other characters are mapped before the look-up, and could become
		// digits or localhost.
		if host[i] <= ' ' || host[i] >= 0x7f {
			return problem.New(problem.Invalid, "remote-url", "the host name %q is not in ASCII", host).
				Suggest("write the name in its xn-- form")
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return g.check(ip)
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if last == "localhost" {
		for _, p := range g {
			if p.Contains(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || p.Contains(netip.IPv6Loopback()) {
				return nil // the address decides when it is dialled
			}
		}
		return problem.New(problem.Denied, "remote-address", "the name %s may not be dialled: it is this machine", host).
			Suggest("if this is meant to be reached, allow it with the setting allow-networks: 127.0.0.0/8")
	}
	// 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some who look names up. No
	// top-level domain is a number (RFC 3696 §2).
	if last == "" || last[0] >= '0' && last[0] <= '9' && strings.Trim(strings.TrimPrefix(last, "0x"), "0123456789abcdef") == "" {
		return problem.New(problem.Invalid, "remote-url", "%q is neither a name nor an address", host)
	}
	return nil
}

// shown is a URL without what may be secret in it: user name, query, fragment.
func shown(u *url.URL) string {
	if u.Opaque != "" {
		return u.Scheme + ":…"
	}
	s := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	text := s.String()
	if u.RawQuery != "" {
		text += "?…"
	}
	return text
}

// Shown is a URL as people may see it: without user name, password, query and
// fragment. What is no URL gives no part of itself away.
func Shown(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "(not a URL)"
	}
	return shown(u)
}
