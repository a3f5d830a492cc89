package api

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// decisionPolicyAnswer is a decision policy; set and set_by are absent for the
// one that is built in.
type decisionPolicyAnswer struct {
	Schema string `json:"schema"`
	upgrade.PolicyRef
	Text  string    `json:"text"`
	Set   time.Time `json:"set,omitzero"`
	SetBy string    `json:"set_by,omitempty"`
}

func decisionPolicyReply(p upgrade.PolicyDocument, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{body: decisionPolicyAnswer{"decision-policy/v1", p.PolicyRef, p.Text, p.Set, p.SetBy}}, nil
}

func getDecisionPolicy(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return decisionPolicyReply(j.Policy(c.ctx, c.caller))
}

// yamlTypes are the media types of a body that is YAML.
var yamlTypes = []string{"application/yaml", "application/x-yaml", "text/yaml"}

func setDecisionPolicy(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); !slices.Contains(yamlTypes, kind) {
		return reply{}, wrongMediaType(kind, yamlTypes[0])
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxJSON))
	if err != nil {
		return reply{}, err
	}
	return decisionPolicyReply(j.SetPolicy(c.ctx, c.caller, string(text)))
}

func listWindows(j Judging, c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := j.Windows(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("window-list/v1", all, func(w calendar.Window) string { return w.Name }, q)
}

// windowRequest is what a window or a freeze is from now on.
type windowRequest struct {
	Freeze       bool      `json:"freeze"`
	Schedule     string    `json:"schedule"`
	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	Duration     string    `json:"duration"`
	Zone         string    `json:"zone"`
	Environments []string  `json:"environments"`
	Deployments  []string  `json:"deployments"`
	Reason       string    `json:"reason"`
	Security     bool      `json:"security"`
}

func putWindow(j Judging, c *call) (reply, error) {
	var req windowRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	return reply{}, j.PutWindow(c.ctx, c.caller, calendar.Window{
		Name: c.params["window"], Freeze: req.Freeze, Schedule: req.Schedule, Start: req.Start, End: req.End, Duration: req.Duration, Zone: req.Zone,
		Environments: req.Environments, Deployments: req.Deployments, Reason: req.Reason, Security: req.Security,
	})
}

func removeWindow(j Judging, c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, j.RemoveWindow(c.ctx, c.caller, c.params["window"])
}
