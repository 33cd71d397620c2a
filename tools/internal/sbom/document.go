// Package sbom lists what is in a program or in a container image, as an SPDX document: the modules that Go linked into a
// program, by what the program itself says, and the packages of a Debian root file system, by their changelogs. The same input gives
// the same bytes.
package sbom

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Spec says what to list.
type Spec struct {
	// Name and Version are those of the program or image.
	Name, Version string
	// Architecture is Go's name of it.
	Architecture string
	// Programs are the Go programs that are in it.
	Programs []string
	// Root is the tar of the Debian root file system below, "" for none.
	Root string
}

// component is something that is in what is described.
type component struct {
	name, version, purl string
	// sha256 is that of a program.
	sha256 string
	// of is the name of the program that a module is linked into, "" for what lies in the image itself.
	of string
}

// The document, by SPDX 2.3. What is not known has to be there and say so.
type (
	document struct {
		SPDXVersion       string         `json:"spdxVersion"`
		DataLicense       string         `json:"dataLicense"`
		SPDXID            string         `json:"SPDXID"`
		Name              string         `json:"name"`
		DocumentNamespace string         `json:"documentNamespace"`
		CreationInfo      creationInfo   `json:"creationInfo"`
		Packages          []pack         `json:"packages"`
		Relationships     []relationship `json:"relationships"`
	}
	creationInfo struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	pack struct {
		Name             string        `json:"name"`
		SPDXID           string        `json:"SPDXID"`
		VersionInfo      string        `json:"versionInfo,omitempty"`
		DownloadLocation string        `json:"downloadLocation"`
		FilesAnalyzed    bool          `json:"filesAnalyzed"`
		Checksums        []checksum    `json:"checksums,omitempty"`
		ExternalRefs     []externalRef `json:"externalRefs,omitempty"`
	}
	checksum struct {
		Algorithm     string `json:"algorithm"`
		ChecksumValue string `json:"checksumValue"`
	}
	externalRef struct {
		ReferenceCategory string `json:"referenceCategory"`
		ReferenceType     string `json:"referenceType"`
		ReferenceLocator  string `json:"referenceLocator"`
	}
	relationship struct {
		SPDXElementID      string `json:"spdxElementId"`
		RelationshipType   string `json:"relationshipType"`
		RelatedSPDXElement string `json:"relatedSpdxElement"`
	}
)

const (
	unknown = "NOASSERTION"
	// created is no time: the same input gives the same document.
	created = "1970-01-01T00:00:00Z"
	home    = "https://github.com/cloud-provider-vultr/cloud-provider-vultr"

	documentID = "SPDXRef-DOCUMENT"
	rootID     = "SPDXRef-root"
)

// Of describes what the spec names.
func Of(s Spec) ([]byte, error) {
	var all []component
	for _, file := range s.Programs {
		linked, err := linkedInto(file)
		if err != nil {
			return nil, err
		}
		all = append(all, linked...)
	}
	if s.Root != "" {
		packages, err := packagesOf(s.Root, s.Architecture)
		if err != nil {
			return nil, fmt.Errorf("root file system %s: %w", s.Root, err)
		}
		all = append(all, packages...)
	}
	return render(s, all)
}

// render makes the document.
func render(s Spec, all []component) ([]byte, error) {
	slices.SortStableFunc(all, func(a, b component) int {
		return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version))
	})
	d := document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: documentID, Name: s.Name + " " + s.Version,
		CreationInfo:  creationInfo{Created: created, Creators: []string{"Tool: cloud-provider-vultr-sbom"}},
		Packages:      []pack{{Name: s.Name, SPDXID: rootID, VersionInfo: s.Version, DownloadLocation: unknown}},
		Relationships: []relationship{{documentID, "DESCRIBES", rootID}},
	}
	programs := map[string]string{} // IDs
	for i, c := range all {
		id := fmt.Sprintf("SPDXRef-%d", i)
		p := pack{Name: c.name, SPDXID: id, VersionInfo: c.version, DownloadLocation: unknown}
		if c.purl != "" {
			p.ExternalRefs = []externalRef{{"PACKAGE-MANAGER", "purl", c.purl}}
		}
		if c.sha256 != "" {
			p.Checksums = []checksum{{"SHA256", c.sha256}}
			programs[c.name] = id
		}
		d.Packages = append(d.Packages, p)
	}
	for i, c := range all {
		in := rootID
		if c.of != "" {
			in = programs[c.of]
		}
		d.Relationships = append(d.Relationships, relationship{in, "CONTAINS", fmt.Sprintf("SPDXRef-%d", i)})
	}
	content, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	d.DocumentNamespace = home + "/spdx/" + s.Name + "-" + hex.EncodeToString(sum[:16])
	content, err = json.MarshalIndent(d, "", "  ")
	return append(content, '\n'), err
}
