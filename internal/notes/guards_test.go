package notes

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One kind of statement a block: what speaks for a repair or for something made
// safer, and what has the same words and does not. All were made for this test.
var sayings = []struct {
	kind   string
	speaks []string
	silent []string
}{
	{"who could do what he should not", []string{
		"Fixed a bug that allowed guests to start jobs without having the right permissions",
		"Fix members could read the drafts of other users",
		"Prevent editors from deleting pages they do not own",
		"Editors could change settings they should not see; this is fixed",
		"This prevents a non-root process from closing the files of the daemon",
	}, []string{
		"Users can now see the drafts of other users on one page",
		"Fix a bug that prevented unprivileged users from starting the agent",
		"Allow to copy a page without a template",
	}},
	{"what has to be right first", []string{
		"Apply scope checks to the endpoints of the queue",
		"Verify roles and permissions when changing an account",
		"The proxy now verifies server certificates of its back ends",
		"Missing CSRF token on the upload form was added",
		"Client certificates were ignored when a session was resumed",
		"Domain verification is bypassed with a certain issuer; fixed",
		"Sanitize all arguments passed to the build command",
	}, []string{
		"Improve performance of permission checks",
		"Do fewer scope checks",
		"Check certificates a week before they end",
		"TLS settings of the old section were ignored",
		"Sanitize label names",
		"Fix attachments that failed with a CSRF check error",
	}},
	{"who is turned away", []string{
		"Prevent clients outside `127.0.0.0/8` from accessing the admin port",
		"The strict mode now rejects connections without a client certificate",
		"Changes the defaults so that only authenticated users can list rooms",
		"Drafts are no longer visible to anonymous readers",
		"No longer trust X-Forwarded-For headers of unknown proxies",
		"Do not expose the control API by default",
		"Enforce strict TLS for requests of credentials",
	}, []string{
		"Disallow access to the internal representation of a list",
		"Users can list rooms",
		"Do not publish drafts",
	}},
	{"what ends with the right to it", []string{
		"Sessions are cleared when the password changes",
		"Automatic revoking of tokens when roles change",
	}, []string{
		"Sessions are stored in the database",
		"Tokens are refreshed when the page is opened",
	}},
	{"secrets that are shown no more", []string{
		"Passwords are properly stripped out of logs",
		"Remove `access_token` from request logs",
		"Redaction of the shared challenge when listing providers",
		"Redact proxy URLs on the status page",
		"Hide sensitive configuration of receivers",
		"Keep sensitive state from being logged by the crash handler",
		"Fix the tunnel leaking the Proxy-Authorization header",
		"The pool logs its name only, and not its arguments, which may contain credentials",
		"Do not expose internal error messages to clients",
		"Prevent the library from leaking full local paths",
		"Hide the server version",
	}, []string{
		"Show the version of the server in the footer",
		"Passwords are stored per account",
		"Allow to redact old messages of a room",
		"Fix crash in redacting URLs",
		"Add the unredacted mode",
	}},
	{"what is weak", []string{
		"Session identifiers are 32 random bytes instead of an MD5 digest",
		"No longer generate 1024-bit RSA keys",
		"Fix insecure shell parameter handling of the driver",
		"Temporary files had predictable names, fixed",
	}, []string{
		"Use MD5 instead of FNV for a better hash distribution",
		"Fix the download of random pages",
	}},
	{"what a peer can do to the whole", []string{
		"Fix remote crash by packets in a wrong order. Not exploitable, it only stops the service.",
		"Avoid buffer read overflow in error pages",
		"Reject archives with a symlink that points outside the target directory",
		"This opened up a possible cache poisoning attack.",
		"Anti-ReDoS for route patterns",
	}, []string{
		"Fix crash of the remote control",
		"Links that point outside are marked by an icon",
	}},
	{"what is taken away, or off", []string{
		"Set mounted files of the secret to mode `0440` by default",
		"Disable service account token mounting for the hook",
		"Namespace-scoped permissions for leases",
		"Data directories no longer inherit permissions of their parent",
		"Set default value of `ssl_verify` in the login plugin to true",
		"Support `unsafe` and enable TLS verification as default",
	}, []string{
		"Anonymous usage statistics are disabled by default",
		"Remove the default user agent",
		"Use generated TLS certificates instead of the operator's by default",
		"The agent now supports the certificate validation of the mesh",
		"Add the harden-glue option",
		"If a password is required, the prompt is shown",
	}},
	{"the words of a product about weaknesses", nil, []string{
		"Fix inconsistent vulnerability findings of two uploads",
		"Fixed an error of the feed which prevented the identification of vulnerabilities by name",
		"Remove CSRF code",
		"The security fixes of the parser 2.13 were already present in our last release",
		"Critical vulnerabilities of dependencies may arise which need an earlier release",
		"Correct the release notes to say that CVE-2031-1234 was fixed in 1.5",
	}},
	{"tags and sections", []string{
		"[SECURITY/BUGFIX] Quote warnings of the API",
		"SECURITY FIX: see [the advisory](https://example.org/a), by the disclosure guidelines",
		".. change::\n    :tags: Bug Fixes, Security\n    :tickets: 17\n\n    Count the labels that are there\n",
		"Documentation\n-------------\n\n- a\n\nBugfixes\n~~~~~~~~\n\n- Fix XSS in the header\n\nMisc\n~~~~\n\n- b\n",
	}, []string{
		".. change::\n    :tags: Bug Fixes, Security\n\n.. change::\n    :tags: Bug Fixes\n\n    Count the labels that are there\n",
		"Known issues\n~~~~~~~~~~~~\n\n- XSS in the header\n",
		"~~~\nFix XSS\n~~~\n",
	}},
}

func TestKinds(t *testing.T) {
	check := func(kind, text string, want bool) {
		t.Helper()
		if r := one(t, text, Limits{}); r.Security != want {
			t.Errorf("%s: security %v, want %v: %q: %+v", kind, r.Security, want, text, r.Hints)
		}
	}
	for _, k := range sayings {
		for _, s := range k.speaks {
			check(k.kind, s, true)
		}
		for _, s := range k.silent {
			check(k.kind, s, false)
		}
	}
}

func TestIdentifiersOfOthers(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Fix Example Security Advisory 2031-05: crafted zones", []string{"Security Advisory 2031-05"}},
		{"This drops the old support, see `Security advisory 2031-7 <advisory-2031-07>`", []string{"Security Advisory 2031-7"}},
		{"Addresses ALAS2-2031-1854 and rhsa-2031:1234", []string{"ALAS2-2031-1854", "RHSA-2031:1234"}},
		{"Patched: RUSTSEC-2031-0001, GLSA-203101-02, TALOS-2031-1234, VU#123456", []string{"GLSA-203101-02", "RUSTSEC-2031-0001", "TALOS-2031-1234", "VU#123456"}},
		{":cve:`2031-15999`: repaired", []string{"CVE-2031-15999"}},
		{"Advisory of 2031-05, DSA keys, USN journal", []string{}},
	} {
		if d := cmp.Diff(c.want, one(t, c.text, Limits{}).IDs); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.text, d)
		}
	}
}
