package server

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// client is how the client sees this server, and where the client is.
type client struct {
	addr        netip.Addr
	base        string
	contextPath string
	stripped    bool // a trusted proxy took the context path off already
	secure      bool
}

// ParseExternalURL checks the URL under which clients reach the server: http
// or https, a host, an optional context path, nothing else. An empty text is
// nil: the URL is then taken from each request.
func ParseExternalURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	bad := func(why string) error {
		return problem.New(problem.Invalid, "external-url", "%q cannot be the external URL: %s", s, why).
			Suggest("give the URL that clients use, such as https://charts.example.com or https://example.com/charts")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, bad("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, bad("it begins with neither http:// nor https://")
	case !validHost(u.Host):
		return nil, bad("its host is not valid")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, bad("it has more than a host and a path")
	}
	path := strings.TrimRight(u.Path, "/")
	if !validContextPath(path) {
		return nil, bad("its path is not valid")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}, nil
}

// ParseTrustedProxies reads addresses and networks, such as 10.0.0.0/8, ::1.
func ParseTrustedProxies(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, problem.New(problem.Invalid, "trusted-proxy", "%q is neither an address nor a network", s).
				Suggest("give for example 10.0.0.0/8 or 192.0.2.7")
		}
		a = a.Unmap()
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out, nil
}

// clientOf works out where a request comes from and under which URL it was
// asked for. Of a forwarding header only what the nearest proxy wrote counts:
// the last element of a list. The error is for a Host that no URL can hold.
func clientOf(r *http.Request, external *url.URL, proxies []netip.Prefix) (client, error) {
	c := client{addr: peer(r.RemoteAddr)}
	trusted := within(c.addr, proxies)
	host, scheme, path := r.Host, "http", ""
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted {
		c.addr = forwardedFor(r.Header.Values("X-Forwarded-For"), c.addr, proxies)
		if v := last(r.Header, "X-Forwarded-Proto"); v == "http" || v == "https" {
			scheme = v
		}
		if v := last(r.Header, "X-Forwarded-Host"); validHost(v) {
			host = v
		}
		if v := strings.TrimRight(last(r.Header, "X-Forwarded-Prefix"), "/"); v != "" && validContextPath(v) {
			path, c.stripped = v, true
		}
	}
	if external != nil {
		host, scheme, path = external.Host, external.Scheme, external.Path
	}
	c.secure = scheme == "https"
	c.contextPath = path
	if host == "" {
		host = "localhost" // HTTP/1.0, as some health checks speak it
	}
	if !validHost(host) {
		c.base = scheme + "://localhost" + path
		return c, problem.New(problem.Invalid, "host", "the Host header is not valid")
	}
	c.base = scheme + "://" + host + path
	return c, nil
}

// peer is the address at the other end of the connection; the zero Addr for a
// connection that has none, such as a Unix socket.
func peer(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor walks the list from the nearest proxy outwards and returns the
// first address that no trusted proxy has. What stands left of that address
// was written by the client itself and counts for nothing.
func forwardedFor(values []string, from netip.Addr, proxies []netip.Prefix) netip.Addr {
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; rest != ""; {
			var one string
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, one = rest[:cut], rest[cut+1:]
			} else {
				rest, one = "", rest
			}
			a := forwardedAddr(strings.TrimSpace(one))
			if !a.IsValid() {
				return from
			}
			from = a
			if !within(a, proxies) {
				return from
			}
		}
	}
	return from
}

// forwardedAddr reads an address with or without a port.
func forwardedAddr(s string) netip.Addr {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone("")
	}
	return peer(s)
}

func last(h http.Header, key string) string {
	values := h.Values(key)
	if len(values) == 0 {
		return ""
	}
	v := values[len(values)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}

// validHost accepts a host name or address with an optional port, and nothing
// that could end a quoted string, a tag or a header.
func validHost(s string) bool {
	if s == "" || len(s) > 255+len(":65535") {
		return false
	}
	host, port := s, ""
	if at := strings.LastIndexByte(s, ':'); at > strings.LastIndexByte(s, ']') {
		host, port = s[:at], s[at+1:]
	}
	if len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return false
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && a.Zone() == "" && strings.HasSuffix(inner, "]")
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return host != ""
}

// validContextPath accepts "" and paths such as /charts or /a/b.
func validContextPath(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != '/' || len(s) > 255 {
		return false
	}
	for seg := range strings.SplitSeq(s[1:], "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
		for i := range len(seg) {
			switch c := seg[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == '~':
			default:
				return false
			}
		}
	}
	return true
}
