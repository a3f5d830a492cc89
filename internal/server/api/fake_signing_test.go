package api

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
)

func sampleSigned() release.Signed {
	return release.Signed{
		Signatures: []signature.Signature{{
			Kind: signature.Key, Digest: sampleSum("2"), Verdict: signature.Refused, Signer: "ada", Key: "sha256:aa", About: signature.AboutArchive,
			Rule: "signature-window", Detail: "too late", Policy: sampleSum("d"), Time: noon,
		}},
		Waits: []string{"a pgp signature"}, Would: []string{"it lacks a key signature"},
	}
}

func (f *fake) AttachBundle(_ context.Context, c release.Caller, project, chart, version string, bundle []byte) (release.Receipt, error) {
	return release.Receipt{Release: sampleRelease(project, chart, version), Signed: sampleSigned()}, f.note(c, "AttachBundle %s %s %s %q", project, chart, version, bundle)
}

func (f *fake) Bundle(_ context.Context, c release.Caller, project, chart, version, digest string) ([]byte, error) {
	return []byte("{}"), f.note(c, "Bundle %s %s %s %s", project, chart, version, digest)
}

func (f *fake) Staged(_ context.Context, c release.Caller, project string, after int64, limit int) ([]release.WaitingRelease, bool, error) {
	return []release.WaitingRelease{{Release: sampleRelease(project, "nginx", "1.2.3"), Waits: []string{"a pgp signature"}}}, after < 0, f.note(c, "Staged %s %d %d", project, after, limit)
}

func (f *fake) PolicyDocument(_ context.Context, c release.Caller, digest string) ([]byte, error) {
	return []byte(`{"require_provenance":false}`), f.note(c, "PolicyDocument %s", digest)
}

func (f *fake) TryPolicy(_ context.Context, c release.Caller, project string, p release.Policy, chart, version, after string) (release.Trial, error) {
	return release.Trial{
		Weaker: []string{"signatures are no longer required"}, Examined: 2, Next: "nginx",
		Items: []release.TrialRelease{{Release: "a/nginx@1.2.3", Time: "then", Refused: []string{"it lacks a pgp signature"}, Signatures: sampleSigned().Signatures}},
	}, f.note(c, "TryPolicy %s %s %q %q %q", project, release.PolicyText(p), chart, version, after)
}

// signingRequests are those of signatures and policies.
var signingRequests = []request{
	{"bundle attach", "POST", nginx + "/signatures", signature.MediaType, "{}", 200, `AttachBundle team-a/web nginx 1.2.3 "{}"`},
	{"bundle", "GET", nginx + "/signatures/sha256:aa", "", "", 200, "Bundle team-a/web nginx 1.2.3 sha256:aa"},
	{"staged", "GET", "/projects/team-a/web/-/staged?limit=1", "", "", 200, "Staged team-a/web -1 1"},
	{"staged after", "GET", "/projects/a/-/staged?after=3", "", "", 200, "Staged a 3 100"},
	{"policy trial", "POST", "/projects/a/-/policy-trial?chart=nginx&version=1.2.3", jsonType, `{"signatures":{"require":"any"}}`, 200,
		`TryPolicy a {"require_provenance":false,"signatures":{"require":"any"}} "nginx" "1.2.3" ""`},
	{"policy", "GET", "/policies/sha256:aa", "", "", 200, "PolicyDocument sha256:aa"},
}

// TestRoundTripOfSigning is TestRoundTrip for signatures and policies.
func TestRoundTripOfSigning(t *testing.T) {
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"AttachBundle": func(ctx context.Context, c *client.Client) result {
			v, err := c.AttachBundle(ctx, "team-a/web", "nginx", "1.2.3", []byte("{}"))
			return result{v, err, `AttachBundle team-a/web nginx 1.2.3 "{}"`, "POST " + nginx + "/signatures"}
		},
		"Bundle": func(ctx context.Context, c *client.Client) result {
			v, err := c.Bundle(ctx, "team-a/web", "nginx", "1.2.3", "sha256:aa")
			if err == nil && string(v) != "{}" {
				t.Errorf("bundle %q", v)
			}
			return result{nil, err, "Bundle team-a/web nginx 1.2.3 sha256:aa", ""}
		},
		"Staged": func(ctx context.Context, c *client.Client) result {
			v, err := c.Staged(ctx, "a", client.Page{After: "3"})
			return result{v, err, "Staged a 3 100", "GET /projects/a/-/staged?after=3"}
		},
		"PolicyDocument": func(ctx context.Context, c *client.Client) result {
			d := release.PolicyDigest(release.Policy{})
			_, err := c.PolicyDocument(ctx, d)
			return result{nil, err, "PolicyDocument " + d, ""}
		},
		"TryPolicy": func(ctx context.Context, c *client.Client) result {
			v, err := c.TryPolicy(ctx, "a", json.RawMessage(`{}`), "nginx", "", "b")
			return result{v, err, `TryPolicy a {"require_provenance":false} "nginx" "" "b"`, "POST /projects/a/-/policy-trial?chart=nginx&after=b"}
		},
	})
}
