-- What analysts ask for by name; made of the tables, never stored twice.

CREATE OR REPLACE VIEW classified.karantaene AS
SELECT f.filnavn, d.linje, i.Lb_nr AS lb_nr, d.regel, l.indberetning_id, l.borger_id, l.konto, l.ydelse_id,
       l.beloeb_oere, f.kilde, f.enhed, f.modtaget_maaned
FROM classified.dom d
JOIN classified.linje l USING (fil_id, linje)
JOIN raw.indberetning i USING (fil_id, linje)
JOIN raw.fil f USING (fil_id)
WHERE d.status = 'karantaene';

-- Spells are stored through a person's last week of support; the whole weeks of self-support after it, up to the
-- month last calculated, are told here ("hale"), with the restart that they may reach.
CREATE OR REPLACE VIEW duration.borger_uge AS
WITH sidste AS (
    SELECT borger_id, max(fra_uge + CAST(7 * antal_uger AS INTEGER)) AS fra_uge, arg_max(taelling, fra_uge) AS taelling,
           arg_max(CASE WHEN art = 'A' THEN n_foer + antal_uger ELSE n_foer END, fra_uge) AS n_foer
    FROM duration.forloeb GROUP BY borger_id
), alle AS (
    SELECT *, false AS hale FROM duration.forloeb
    UNION ALL BY NAME
    SELECT borger_id, fra_uge, date_diff('day', fra_uge, CAST(maaned + INTERVAL 1 MONTH AS DATE)) // 7 AS antal_uger,
           'C' AS art, taelling, n_foer, n_foer > 0 AS taeller, false AS genoptjent, true AS hale
    FROM sidste, refusion.beregnet
), uger AS (
    SELECT *, unnest(generate_series(0, antal_uger - 1)) AS nr FROM alle WHERE antal_uger > 0
), talt AS (
    SELECT borger_id, fra_uge + CAST(7 * nr AS INTEGER) AS uge, art, taelling, taeller, hale,
           genoptjent AND nr = antal_uger - 1 AS genoptjent,
           CASE WHEN art = 'A' THEN n_foer + nr + 1 ELSE n_foer END AS n
    FROM uger
), frie AS (
    SELECT t.borger_id, t.uge, count(*) AS antal, any_value(g.ved_opnaaelse) AND count(*) >= any_value(g.uger) AS naaet
    FROM talt t
    ASOF JOIN regler.genoptjening g ON t.uge >= g.gaelder_fra_uge
    JOIN talt s ON s.borger_id = t.borger_id AND s.taelling = t.taelling AND s.taeller
         AND s.uge BETWEEN t.uge - to_years(CAST(g.vindue_aar AS INTEGER)) AND t.uge
    GROUP BY t.borger_id, t.uge
), naaet AS (
    SELECT t.*, coalesce(frie.antal, 0) AS antal,
           min(CASE WHEN hale AND taeller AND frie.naaet THEN t.uge END) OVER (PARTITION BY t.borger_id) AS forfra
    FROM talt t LEFT JOIN frie USING (borger_id, uge)
)
SELECT borger_id, uge, art, taelling + CAST(hale AND coalesce(uge > forfra, false) AS INTEGER) AS taelling,
       CASE WHEN genoptjent OR (hale AND coalesce(uge >= forfra, false)) THEN 0 ELSE n END AS ydelsestaeller,
       CASE WHEN genoptjent OR (hale AND coalesce(uge >= forfra, false)) THEN 0 ELSE antal END AS genoptjeningstaeller,
       genoptjent OR (hale AND coalesce(uge = forfra, false)) AS genoptjent
FROM naaet;

-- The fleksbidrag that is settled, in the form of a result row; and both together, which is the state of the run.
CREATE OR REPLACE VIEW refusion.fleksbidrag_raekke AS
SELECT uge, maaned, borger_id, ydelse_id, kommunekode, 0::BIGINT AS indberettet_oere, 0::BIGINT AS beloeb_oere,
       0::BIGINT AS procent, refusion_oere, 0::BIGINT AS medfinansiering_oere, NULL::BIGINT AS ydelsestaeller,
       NULL::BIGINT AS genoptjeningstaeller, NULL::BIGINT AS trin, hjemmel, regelversion
FROM refusion.fleksbidrag WHERE refusion_oere <> 0;

CREATE OR REPLACE VIEW refusion.tilstand AS
SELECT * FROM refusion.borger_uge_ydelse UNION ALL BY NAME SELECT * FROM refusion.fleksbidrag_raekke;

CREATE OR REPLACE VIEW opgoerelse.afregnet AS
SELECT p.* FROM opgoerelse.postering p
ANTI JOIN (
    SELECT uge, maaned, borger_id, ydelse_id, kommunekode, oprindelig_koersel AS koersel
    FROM opgoerelse.postering WHERE raekketype = 'T'
) t USING (uge, maaned, borger_id, ydelse_id, kommunekode, koersel)
WHERE p.raekketype <> 'T';

-- The way of the money in a run, post by post: received to used, used to settled, settled to files.
CREATE OR REPLACE VIEW kontrol.afstemning AS
SELECT maaned, kontrol, navn AS post, vaerdi AS beloeb_oere FROM kontrol.tal
WHERE kontrol IN ('raa_er_fordelt', 'brugt_er_fordelt', 'kommuner_er_kladden', 'filer_er_kladden');
