package settings

import (
	"errors"
	"regexp"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const regionListProblem = "must be a list of regions separated by commas, each of them once, such as ams,fra; " +
	"a VPC of the region follows it by its UUID: ams=UUID"

// regionCode is the form of the platform's regions. Which ones exist only the platform knows.
var regionCode = regexp.MustCompile(`^[a-z]{3}[a-z0-9]{0,5}$`)

// ParseRegions reads a list such as "ams,fra=cb676a46-66fd-4dfb-b839-443f2e6c0b60", in any case. Empty entries are skipped.
func ParseRegions(text string) ([]vultr.GlobalRegion, error) {
	var regions []vultr.GlobalRegion
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(strings.ToLower(text), ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		code, vpc, named := strings.Cut(entry, "=")
		code, vpc = strings.TrimSpace(code), strings.TrimSpace(vpc)
		if !regionCode.MatchString(code) || named && !vultr.IsID(vpc) || seen[code] {
			return nil, errors.New(regionListProblem)
		}
		seen[code] = true
		regions = append(regions, vultr.GlobalRegion{Region: code, VPC: vpc})
	}
	return regions, nil
}

func joinRegions(regions []vultr.GlobalRegion) string {
	texts := make([]string, 0, len(regions))
	for _, region := range regions {
		text := region.Region
		if region.VPC != "" {
			text += "=" + region.VPC
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ",")
}
