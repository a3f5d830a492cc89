package cli

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

// SARIF 2.1.0 (OASIS standard), within what GitHub's code scanning takes: one
// run, the gravest results first and at most maxResults of them, stable rule ids
// and fingerprints, and every result at a place.

// maxResults is how many results of a run GitHub keeps.
const maxResults = 5000

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	AutomationDetails struct {
		ID string `json:"id"`
	} `json:"automationDetails"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string `json:"id"`
	ShortDescription struct {
		Text string `json:"text"`
	} `json:"shortDescription"`
	Properties struct {
		Tags             []string `json:"tags"`
		SecuritySeverity string   `json:"security-severity"`
	} `json:"properties"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool                `json:"executionSuccessful"`
	Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Properties   map[string]string `json:"properties"`
}

type sarifLocation struct {
	PhysicalLocation struct {
		ArtifactLocation struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region struct {
			StartLine int `json:"startLine"`
		} `json:"region"`
	} `json:"physicalLocation"`
	LogicalLocations []sarifLogical `json:"logicalLocations"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
}

// sarif is a report as SARIF.
func (r report) sarif() ([]byte, error) {
	log := sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: make([]sarifRun, 1)}
	run := &log.Runs[0]
	run.Tool.Driver = sarifDriver{Name: "chartkeep", InformationURI: "https://github.com/chartkeep/chartkeep", Rules: []sarifRule{}}
	run.AutomationDetails.ID = "chartkeep/" + r.command + "/"
	run.Results = []sarifResult{}
	found := slices.Clone(r.findings)
	slices.SortStableFunc(found, func(a, b reported) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	invocation := sarifInvocation{ExecutionSuccessful: len(r.incomplete) == 0}
	for _, what := range r.incomplete {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"error", sarifText{what}})
	}
	if n := len(found) - maxResults; n > 0 {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"warning", sarifText{fmt.Sprintf("%d findings of least severity are left out", n)}})
		found = found[:maxResults]
	}
	run.Invocations = []sarifInvocation{invocation}
	index := map[string]int{}
	seen := map[string]int{}
	for _, f := range found {
		i, known := index[f.Rule]
		if !known {
			i = len(run.Tool.Driver.Rules)
			index[f.Rule] = i
			rule := sarifRule{ID: f.Rule}
			rule.ShortDescription.Text = strings.ReplaceAll(f.Rule, "-", " ")
			// The gravest of a rule comes first. GitHub rates a rule, not a result.
			rule.Properties.Tags, rule.Properties.SecuritySeverity = []string{"security"}, securitySeverity[f.Severity]
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
		}
		print := f.fingerprint()
		if seen[print]++; seen[print] > 1 {
			print = fmt.Sprintf("%s:%d", print, seen[print])
		}
		result := sarifResult{
			RuleID: f.Rule, RuleIndex: i, Level: sarifLevel[f.Severity], Message: sarifText{f.text()},
			Fingerprints: map[string]string{"chartkeep/v1": print}, Properties: map[string]string{"severity": string(f.Severity)},
		}
		at := sarifLocation{LogicalLocations: []sarifLogical{{f.Object}}}
		at.PhysicalLocation.ArtifactLocation.URI = (&url.URL{Path: f.file}).EscapedPath()
		at.PhysicalLocation.Region.StartLine = 1
		result.Locations = []sarifLocation{at}
		run.Results = append(run.Results, result)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(log); err != nil {
		return nil, fmt.Errorf("encode SARIF: %w", err)
	}
	return escapeJSON(out.Bytes()), nil
}

// fingerprint tells a finding from others across versions of a chart: it is of
// the rule, the chart and the object, and not of the wording.
func (f reported) fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Rule, f.chart, f.Object, f.file}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

var (
	sarifLevel = map[manifest.Severity]string{
		manifest.Info: "note", manifest.Low: "note", manifest.Medium: "warning", manifest.High: "error", manifest.Critical: "error",
	}
	// securitySeverity is within the ranges in which GitHub says low, medium, high
	// and critical.
	securitySeverity = map[manifest.Severity]string{
		manifest.Info: "0.0", manifest.Low: "3.0", manifest.Medium: "5.5", manifest.High: "8.0", manifest.Critical: "9.5",
	}
)
