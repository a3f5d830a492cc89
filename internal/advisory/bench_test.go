package advisory

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// generated is a record of the size and form that Bitnami's have.
func generated(i int) []byte {
	return fmt.Appendf(nil, `{
  "schema_version": "1.6.2",
  "id": "BIT-part%[1]d-2024-%[2]d",
  "summary": "Something of part %[1]d is reachable",
  "details": "%[4]s\n\nUsers of part %[1]d are advised to move on. %[4]s",
  "aliases": ["CVE-2024-%[2]d"],
  "affected": [
    {
      "package": {"ecosystem": "Bitnami", "name": "part%[1]d", "purl": "pkg:bitnami/part%[1]d"},
      "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N"}],
      "ranges": [
        {
          "type": "SEMVER",
          "events": [{"introduced": "0"}, {"fixed": "%[3]d.1.2"}, {"introduced": "%[3]d.2.0"}, {"fixed": "%[3]d.2.9"}]
        }
      ]
    }
  ],
  "database_specific": {"severity": "Medium", "cpes": ["cpe:2.3:a:example:part%[1]d:*:*:*:*:*:*:*:*"]},
  "references": [
    {"type": "WEB", "url": "https://example.org/part%[1]d/pull/%[2]d"},
    {"type": "WEB", "url": "https://nvd.nist.gov/vuln/detail/CVE-2024-%[2]d"}
  ],
  "published": "2024-07-19T07:16:29.237Z",
  "modified": "2025-05-20T10:02:07.006Z"
}
`, i%100, 10000+i, i%7, strings.Repeat("It lets someone with an account do more than is meant. ", 14))
}

// BenchmarkImportOSV10000 is the import of 10,000 files, one record each: read,
// checked, packed, and written as they are stored.
func BenchmarkImportOSV10000(b *testing.B) {
	files := make([][]byte, 10_000)
	size := int64(0)
	for i := range files {
		files[i] = generated(i)
		size += int64(len(files[i]))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		build := NewBuilder(OSV, DefaultLimits())
		for i, f := range files {
			if err := build.Add(fmt.Sprint(i, ".json"), bytes.NewReader(f)); err != nil {
				b.Fatal(err)
			}
		}
		p, faults, err := build.Pack()
		if err != nil || len(faults) > 0 || p.Snapshot().Records != len(files) {
			b.Fatal(err, faults, p.Snapshot())
		}
		if _, err := p.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewDatabase is what a server does after an import: 10,000 advisories,
// 300,000 scores and 44,000 assessments.
func BenchmarkNewDatabase(b *testing.B) {
	osv, epss, points := NewBuilder(OSV, DefaultLimits()), NewBuilder(EPSS, DefaultLimits()), NewBuilder(Vulnrichment, DefaultLimits())
	for i := range 10_000 {
		if err := osv.Add("x", bytes.NewReader(generated(i))); err != nil {
			b.Fatal(err)
		}
	}
	var table bytes.Buffer
	table.WriteString("#model_version:v2025.03.14,score_date:2026-11-21T12:55:00Z\ncve,epss,percentile\n")
	for i := range 300_000 {
		fmt.Fprintf(&table, "CVE-2%03d-%05d,0.%05d,0.%05d\n", i%27, i, i%99991, i%99989)
	}
	if err := epss.Add("epss.csv", &table); err != nil {
		b.Fatal(err)
	}
	for i := range 44_000 {
		if err := points.Add("x", strings.NewReader(cveRecord(fmt.Sprintf("CVE-2024-%05d", i), "poc", "No", "partial"))); err != nil {
			b.Fatal(err)
		}
	}
	var packs []Pack
	for _, build := range []*Builder{osv, epss, points} {
		p, faults, err := build.Pack()
		if err != nil || len(faults) > 0 {
			b.Fatal(err, faults)
		}
		packs = append(packs, p.With(Snapshot{Feed: string(p.Snapshot().Kind), Taken: time.Unix(1, 0)}))
	}
	b.ReportAllocs()
	for b.Loop() {
		if db, faults := NewDatabase(nil, packs...); len(faults) > 0 || len(db.Advisories()) != 10_000 {
			b.Fatal(faults)
		}
	}
}

// cveRecord is a CVE record with CISA's points.
func cveRecord(cve, exploitation, automatable, impact string) string {
	return fmt.Sprintf(`{"dataType": "CVE_RECORD", "cveMetadata": {"cveId": %q, "state": "PUBLISHED"}, "containers": {
  "cna": {"title": "long", "metrics": [{"cvssV3_1": {"vectorString": "CVSS:3.1/AV:L"}}]},
  "adp": [
    {"title": "CVE Program Container", "metrics": 7, "providerMetadata": {"shortName": "CVE"}},
    {"title": "CISA ADP Vulnrichment", "providerMetadata": {"shortName": "CISA-ADP", "dateUpdated": "2024-10-04T13:43:51.583Z"},
     "metrics": [{"other": {"type": "ssvc", "content": {"timestamp": "2024-10-03T13:43:45.875086Z", "role": "CISA Coordinator", "options": [
       {"Exploitation": %q}, {"Automatable": %q}, {"Technical Impact": %q}]}}},
       {"cvssV3_1": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 9.8}}]}
  ]}}`, cve, exploitation, automatable, impact)
}
