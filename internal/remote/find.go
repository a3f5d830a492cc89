package remote

import "net/url"

// For names the credential that is bound to the host of a URL, the first by
// name; "" when there is none. An oci:// URL is asked for as https://.
func (c *Credentials) For(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	if u.Scheme == "oci" {
		u.Scheme = "https"
	}
	for _, name := range c.Names() {
		if c.byName[name].host.covers(u) {
			return name
		}
	}
	return ""
}
