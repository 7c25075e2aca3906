# Both ends of the path, read from the servers at the moment of the call and
# written in one form, so that they can be compared by content.  Sourced by
# demo and tests/scenario/lib.sh, after lib.sh.
#
# A line is the key, a tab, and all items in the bus's form.  The department's
# side is worked out here in SQL, not by the adapter: if the adapter read a
# habit of the table wrongly, the two would differ.

# db NAME ARG...: psql on hrss or gx_<node>, as its owner
db() {
	local name=$1
	shift
	PGPASSFILE=$OUT/pgpass PGOPTIONS='-c client_min_messages=warning' \
		psql -qAtX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(P postgres)" \
		-U "$name" -d "$name" "$@"
}

# What db needs: the caller's own copy of the passwords.
write_pgpass() {
	local user
	(umask 077 && for user in hrss $(printf 'gx_%s ' $GXL_NODES); do
		echo "127.0.0.1:*:*:$user:$(secret "$user")"
	done >"$OUT/pgpass.new")
	mv "$OUT/pgpass.new" "$OUT/pgpass"
}

# department_lines [SCHEMA]: the department's rows as the bus should have them
department_lines() {
	db hrss -c "COPY (SELECT aac001, aac001, compare.narrow(aac002),
	compare.clean(aac003), CASE compare.clean(aac004) WHEN '男' THEN '1'
		WHEN '女' THEN '2' ELSE compare.clean(aac004) END,
	compare.narrow(aac005), compare.dashed(aac006), compare.narrow(aac009),
	compare.clean(aab001), compare.clean(aab004), compare.narrow(aae140),
	compare.narrow(aac031), compare.dashed(aac049::text),
	compare.dashed(aac030::text), base::numeric(18,2), n_months,
	compare.narrow(region), compare.narrow(org_uscc),
	to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.MS')
FROM ${1:-public}.ac01) TO STDOUT" | LC_ALL=C sort
}

# Helpers of the above, in a schema of their own in the private department.
# shellcheck disable=SC2016
COMPARE_SQL='
CREATE SCHEMA IF NOT EXISTS compare;
CREATE OR REPLACE FUNCTION compare.clean(text) RETURNS text IMMUTABLE
LANGUAGE sql AS
$$ SELECT nullif(nullif(btrim($1, E'\'' \t\u00a0\u3000'\''), '\'''\''), '\''-'\'') $$;
CREATE OR REPLACE FUNCTION compare.narrow(text) RETURNS text IMMUTABLE
LANGUAGE sql AS
$$ SELECT translate(compare.clean($1), '\''０１２３４５６７８９'\'', '\''0123456789'\'') $$;
CREATE OR REPLACE FUNCTION compare.dashed(text) RETURNS text IMMUTABLE
LANGUAGE sql AS
$$ SELECT regexp_replace(compare.clean($1), '\''^(....)(..)(..)$'\'', '\''\1-\2-\3'\'') $$;'

# load_table SCHEMA PUBLICATION PREFIX COUNT: a department's table, once, with
# the publication that docs/adapter.md asks of a department
load_table() {
	local n
	{
		echo "CREATE SCHEMA IF NOT EXISTS $1;"
		"$GXL_HERE/gen" --table --schema "$1"
		echo "$COMPARE_SQL
GRANT USAGE ON SCHEMA $1 TO gx_reader;
GRANT SELECT ON $1.ac01 TO gx_reader;
SELECT 'CREATE PUBLICATION $2 FOR TABLE $1.ac01 WITH (publish =
	''insert, update, delete, truncate'', publish_via_partition_root = true)'
WHERE NOT EXISTS (SELECT 1 FROM pg_publication
	WHERE pubname = '$2') \gexec"
	} | db hrss >/dev/null || return 1
	n=$(db hrss -c "SELECT count(*) FROM $1.ac01")
	[ "$n" = 0 ] || return 0
	"$GXL_HERE/gen" --count "$4" --prefix "$3" --seed "gxbus$3" |
		db hrss -c "COPY $1.ac01 FROM STDIN" &&
		db hrss -c "ANALYZE $1.ac01"
}

# load_department COUNT [COUNT2]: of the first city, and of the second
load_department() {
	load_table public gx_social 4501 "$1" &&
		load_table city2 gx_social_2 4502 "${2:-0}"
}

# base_lines DATABASE [NODE]: the same from a base table, of records from that
# node (the first city's)
base_lines() {
	db "$1" -c "COPY (SELECT aac001 AS k, aac001, aac002, aac003, aac004,
	aac005, aac006, aac009, aab001, aab004, aae140, aac031, aac049, aac030,
	base, n_months, region, org_uscc,
	to_char(updated_at AT TIME ZONE 'Asia/Shanghai',
		'YYYY-MM-DD HH24:MI:SS.MS')
FROM social.insured WHERE starts_with(gx_origin, '/${2:-$GXL_CITY}/'))
TO STDOUT" | LC_ALL=C sort
}

# held_keys DATABASE [NODE]: keys whose newest record is set aside
held_keys() {
	db "$1" -c "SELECT DISTINCT key::jsonb->>0 FROM gx_held
WHERE resource = 'social.insured'
	AND starts_with(origin, '/${2:-$GXL_CITY}/')" | LC_ALL=C sort
}

# The streams of the resource that is compared; a city may have others.
SOCIAL_STREAMS="/$GXL_CITY/hrss/social/social.insured/%"

# Keys in the city's quarantine, of the city's own source.
quarantine_keys() {
	db gx_city -c "SELECT DISTINCT key::jsonb->>0 FROM gx_quarantine
WHERE side = 'source' AND state IN ('open', 'queued') AND key <> ''
	AND stream LIKE '$SOCIAL_STREAMS'" | LC_ALL=C sort
}

keys_of() {
	cut -f 1 "$1"
}

digest_of() {
	sha256sum "$1" | cut -c 1-16
}

# read_both DIR: both sides into files of DIR.  Taken one after the other: only
# when nothing flows can they be equal.
read_both() {
	department_lines >"$1/department" && base_lines gx_city >"$1/city" &&
		base_lines gx_hub >"$1/hub" && held_keys gx_hub >"$1/held" &&
		held_keys gx_city >"$1/held.city" &&
		quarantine_keys >"$1/quarantine" || return 1
	keys_of "$1/department" >"$1/department.keys"
	keys_of "$1/hub" >"$1/hub.keys"
	LC_ALL=C sort -mu "$1/hub.keys" "$1/held" >"$1/hub.known"
	# Good rows: those that nobody set aside.
	LC_ALL=C join -t '	' -v 1 "$1/department" "$1/held" >"$1/department.good"
	LC_ALL=C join -t '	' -v 1 "$1/hub" "$1/held" >"$1/hub.good"
	LC_ALL=C join -t '	' "$1/hub" "$1/held" >"$1/hub.last_good"
}

# read_others DIR: the other levels: the second city with its department, and
# what the hub and the national node hold of it, and of the first.
read_others() {
	department_lines city2 >"$1/department2" &&
		base_lines gx_city2 "$GXL_CITY2" >"$1/city2" &&
		base_lines gx_hub "$GXL_CITY2" >"$1/hub2" &&
		base_lines gx_national "$GXL_CITY2" >"$1/national2" &&
		base_lines gx_national >"$1/national" &&
		held_keys gx_national >"$1/held.national"
}

# read_returned DIR: what each city should be given of the other's records, by
# the hub's rows (its own rows and holds were compared with the department's),
# and what it has.
read_returned() {
	base_lines gx_hub "$GXL_CITY2" | of_region 4501 >"$1/due1" &&
		base_lines gx_city "$GXL_CITY2" >"$1/got1" &&
		base_lines gx_hub "$GXL_CITY" | of_region 4502 >"$1/due2" &&
		base_lines gx_city2 "$GXL_CITY" >"$1/got2"
}

same_returned() {
	cmp -s "$1/due1" "$1/got1" && cmp -s "$1/due2" "$1/got2"
}

# of_region PREFIX: lines as above of records whose region begins so
of_region() {
	awk -F '\t' -v p="$1" 'index($17, p) == 1'
}

same_others() {
	local f
	for f in city2 hub2 national2; do
		cmp -s "$1/department2" "$1/$f" || return 1
	done
	cmp -s "$1/hub" "$1/national" && cmp -s "$1/held" "$1/held.national"
}

show_others() {
	local f
	for f in city2 hub2 national2; do
		cmp -s "$1/department2" "$1/$f" ||
			echo "  the second city's rows differ: $f"
	done
	cmp -s "$1/hub" "$1/national" ||
		echo "  hub and national node hold other rows of the first city"
}

# same_both DIR: are they equal, by key and by content?
same_both() {
	cmp -s "$1/department.keys" "$1/hub.known" &&
		cmp -s "$1/department.good" "$1/hub.good" &&
		cmp -s "$1/city" "$1/hub" &&
		cmp -s "$1/held" "$1/held.city" &&
		cmp -s "$1/held" "$1/quarantine"
}

# What differs, by key, at most ten a kind.
show_difference() {
	LC_ALL=C comm -23 "$1/department.keys" "$1/hub.known" | head -n 10 |
		sed 's/^/  at the department only: /'
	LC_ALL=C comm -13 "$1/department.keys" "$1/hub.known" | head -n 10 |
		sed 's/^/  at the hub only: /'
	LC_ALL=C comm -3 "$1/department.good" "$1/hub.good" | sed 's/^\t//' |
		cut -f 1 | sort -u | head -n 10 | sed 's/^/  differs in content: /'
	cmp -s "$1/city" "$1/hub" || echo "  city and hub hold other rows"
	LC_ALL=C comm -3 "$1/held" "$1/quarantine" | tr -d '\t' | head -n 10 |
		sed 's/^/  set aside at one end only: /'
}
