package client

import (
	"context"
	"time"
)

// Witnessing is how the log stands with its witnesses, as the server says.
type Witnessing struct {
	Mode      string    `json:"mode"`                 // none, best-effort or required
	Quorum    string    `json:"quorum,omitempty"`     // a name in the witness policy
	Size      int64     `json:"log_size"`             // of the log now
	Published int64     `json:"published_size"`       // of the checkpoint that is published; -1 when there is none
	MetSize   int64     `json:"quorum_size"`          // of the newest checkpoint that met the quorum; -1 when none did
	MetTime   time.Time `json:"quorum_time,omitzero"` // of its newest cosignature
	Witnesses []Witness `json:"witnesses"`
}

// Witness is one witness of the log.
type Witness struct {
	Name        string    `json:"name"` // in the policy
	Key         string    `json:"key"`  // the name of its key
	VerifierKey string    `json:"verifier_key"`
	URL         string    `json:"url,omitempty"`
	State       string    `json:"state"`             // cosigned, behind, failing, refusing, never or no-url
	Size        int64     `json:"size"`              // that it cosigned last
	Cosigned    time.Time `json:"cosigned,omitzero"` // when the server last got a cosignature; zero for never
	Asked       time.Time `json:"asked,omitzero"`    // when it was last asked
	Failure     string    `json:"failure,omitempty"` // why the last question brought none
	Since       time.Time `json:"since,omitzero"`    // of the first such question in a row
	Refusal     string    `json:"refusal,omitempty"` // ahead, inconsistent or denied
}

// Witnesses returns how the log stands with its witnesses.
func (c *Client) Witnesses(ctx context.Context) (out Witnessing, err error) {
	err = c.get(ctx, "/log/witnesses", nil, "log-witnesses/v1", &out)
	return out, err
}
