package api

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chartkeep/chartkeep/client"
)

var sumA = sampleSum("a")

const nginx = "/projects/team-a/web/-/charts/nginx/releases/1.2.3"

// protectRequests are those of what needs a second person.
var protectRequests = []request{
	{"project set provenance", "PATCH", "/projects/a", jsonType, `{"require_provenance":false,"text":"the signer is gone"}`, 202, `SetProject a public=- policy=provenance:false "the signer is gone" hub=-`},
	{"quarantine set", "POST", nginx + "/quarantine", jsonType, `{"reason":"malware","text":"mines"}`, 200, `SetQuarantine team-a/web nginx 1.2.3 malware "mines"`},
	{"quarantine confirm", "POST", nginx + "/quarantine/confirm", jsonType, `{"text":"seen"}`, 200, `ConfirmQuarantine team-a/web nginx 1.2.3 "seen"`},
	{"quarantine lift", "POST", nginx + "/quarantine/lift", jsonType, `{}`, 200, `LiftQuarantine team-a/web nginx 1.2.3 ""`},
	{"quarantines", "GET", "/quarantines?project=a", "", "", 200, `Quarantines "a"`},
	{"where", "GET", "/where?digest=" + sumA, "", "", 200, "Where 3 digests, 1 releases"},
	{"where is a release", "GET", "/where?project=a&chart=nginx&version=1.2.3", "", "", 200, "Where 3 digests, 1 releases"},
	{"tombstone", "POST", nginx + "/tombstone", jsonType, `{"reason":"legal","text":"asked"}`, 202, `RequestTombstone team-a/web nginx 1.2.3 legal "asked"`},
	{"requests", "GET", "/requests?project=a&all=true", "", "", 200, "Requests {Project:a All:true}"},
	{"request", "GET", "/requests/7", "", "", 200, "Request 7"},
	{"request approve", "POST", "/requests/7/approve", jsonType, `{"text":"agreed"}`, 200, `ApproveRequest 7 "agreed"`},
	{"request decline", "POST", "/requests/7/decline", jsonType, `{"text":"no"}`, 200, `DeclineRequest 7 "no"`},
	{"request withdraw", "POST", "/requests/7/withdraw", jsonType, `{}`, 200, `WithdrawRequest 7 ""`},
}

// TestRoundTripOfProtection is TestRoundTrip for what needs a second person.
func TestRoundTripOfProtection(t *testing.T) {
	no := false
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"SetProject without provenance": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetProject(ctx, "a", client.ProjectChange{RequireProvenance: &no, Text: "why"})
			return result{v, err, `SetProject a public=- policy=provenance:false "why" hub=-`, ""}
		},
		"SetPolicy": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetPolicy(ctx, "a", json.RawMessage(`{"require_provenance":true}`), "")
			return result{v, err, "SetProject a public=- policy=true hub=-", "GET /projects/a"}
		},
		"SetQuarantine": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetQuarantine(ctx, "team-a/web", "nginx", "1.2.3", "malware", "mines")
			return result{v, err, `SetQuarantine team-a/web nginx 1.2.3 malware "mines"`, "POST " + nginx + "/quarantine"}
		},
		"ConfirmQuarantine": func(ctx context.Context, c *client.Client) result {
			v, err := c.ConfirmQuarantine(ctx, "team-a/web", "nginx", "1.2.3", "seen")
			return result{v, err, `ConfirmQuarantine team-a/web nginx 1.2.3 "seen"`, "POST " + nginx + "/quarantine/confirm"}
		},
		"LiftQuarantine": func(ctx context.Context, c *client.Client) result {
			v, err := c.LiftQuarantine(ctx, "team-a/web", "nginx", "1.2.3", "")
			return result{v, err, `LiftQuarantine team-a/web nginx 1.2.3 ""`, "POST " + nginx + "/quarantine/lift"}
		},
		"Where": func(ctx context.Context, c *client.Client) result {
			v, err := c.Where(ctx, sumA)
			return result{v, err, "Where 3 digests, 1 releases", "GET /where?digest=" + sumA}
		},
		"WhereRelease": func(ctx context.Context, c *client.Client) result {
			v, err := c.WhereRelease(ctx, "a", "nginx", "1.2.3")
			return result{v, err, "Where 3 digests, 1 releases", "GET /where?project=a&chart=nginx&version=1.2.3"}
		},
		"Quarantines": func(ctx context.Context, c *client.Client) result {
			v, err := c.Quarantines(ctx, "a", client.Page{})
			return result{v, err, `Quarantines "a"`, "GET /quarantines?project=a"}
		},
		"RequestTombstone": func(ctx context.Context, c *client.Client) result {
			v, err := c.RequestTombstone(ctx, "team-a/web", "nginx", "1.2.3", "legal", "asked")
			return result{v, err, `RequestTombstone team-a/web nginx 1.2.3 legal "asked"`, "POST " + nginx + "/tombstone"}
		},
		"Requests": func(ctx context.Context, c *client.Client) result {
			v, err := c.Requests(ctx, "a", true, client.Page{})
			return result{v, err, "Requests {Project:a All:true}", "GET /requests?project=a&all=true"}
		},
		"Request": func(ctx context.Context, c *client.Client) result {
			v, err := c.Request(ctx, 7)
			return result{v, err, "Request 7", "GET /requests/7"}
		},
		"ApproveRequest": func(ctx context.Context, c *client.Client) result {
			v, err := c.ApproveRequest(ctx, 7, "agreed")
			return result{v, err, `ApproveRequest 7 "agreed"`, "POST /requests/7/approve"}
		},
		"DeclineRequest": func(ctx context.Context, c *client.Client) result {
			v, err := c.DeclineRequest(ctx, 7, "no")
			return result{v, err, `DeclineRequest 7 "no"`, "POST /requests/7/decline"}
		},
		"WithdrawRequest": func(ctx context.Context, c *client.Client) result {
			v, err := c.WithdrawRequest(ctx, 7, "")
			return result{v, err, `WithdrawRequest 7 ""`, "POST /requests/7/withdraw"}
		},
	})
}
