package api

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The answers. Each has its schema first and the fields of what it shows
// beside it; package client declares the other side of the wire.

type versionAnswer struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
}

type projectAnswer struct {
	Schema string `json:"schema"`
	release.Project
}

// projectSetAnswer also says what needs a second person.
type projectSetAnswer struct {
	projectAnswer
	Request *release.Request `json:"request,omitempty"`
	Weaker  []string         `json:"weaker,omitempty"`
}

func projectReply(status int, p release.Project) reply {
	return reply{status: status, body: projectAnswer{"project/v1", p}}
}

// releaseAnswer is a release as it stands.
type releaseAnswer struct {
	Schema string `json:"schema"`
	release.Release
}

// receiptAnswer is the answer to a push, an import and an attached provenance.
type receiptAnswer struct {
	Schema string `json:"schema"`
	release.Release
	Unchanged bool   `json:"unchanged"`
	Proof     string `json:"proof,omitempty"` // a tlog-proof file
	release.Signed
}

// detailAnswer is all that is known of a release.
type detailAnswer struct {
	Schema string `json:"schema"`
	release.Release
	Metadata chart.Metadata `json:"metadata"`
	Proof    string         `json:"proof,omitempty"`
	release.Signed
}

// proofText is the text of a proof, "" when there is none.
func proofText(p tlog.Proof) string {
	if len(p.Checkpoint) == 0 {
		return ""
	}
	return string(p.Marshal())
}

type accountAnswer struct {
	Schema string `json:"schema"`
	release.Account
}

type grantAnswer struct {
	Schema string `json:"schema"`
	release.AccountGrant
}

// secretAnswer is a new token; its secret is shown this once.
type secretAnswer struct {
	Schema string `json:"schema"`
	release.Token
	Secret string `json:"secret"`
}

type decisionAnswer struct {
	Schema string `json:"schema"`
	access.Decision
}

// principalAnswer is who the server takes the caller for.
type principalAnswer struct {
	Schema  string         `json:"schema"`
	ID      string         `json:"id,omitempty"`
	Name    string         `json:"name"`
	Kind    access.Kind    `json:"kind"`
	Issuer  string         `json:"issuer,omitempty"`
	TokenID string         `json:"token_id,omitempty"`
	Expires time.Time      `json:"expires,omitzero"`
	Grants  []access.Grant `json:"grants"`
	// Account is set for a personal token: the rights are those that both
	// the token's grants and the account's give.
	Account *accountGrants `json:"account,omitempty"`
}

type accountGrants struct {
	ID     string         `json:"id"`
	Name   string         `json:"name"`
	Grants []access.Grant `json:"grants"`
}

type logAnswer struct {
	Schema string `json:"schema"`
	release.LogInfo
	Checkpoint string `json:"checkpoint"` // the signed note
}

type leafAnswer struct {
	Schema string `json:"schema"`
	Index  int64  `json:"index"`
	Leaf   string `json:"leaf"` // the text that is logged
	Hash   string `json:"hash"` // its RFC 6962 leaf hash, base64
}

type consistencyAnswer struct {
	Schema string   `json:"schema"`
	Old    int64    `json:"old"`
	New    int64    `json:"new"`
	Hashes []string `json:"hashes"` // base64, as RFC 6962 section 2.1.2 orders them
}
