(
WITH foer AS (SELECT DISTINCT * EXCLUDE modtaget_maaned FROM (FROM raw.bopael WHERE modtaget_maaned = DATE '2024-01-01')),
nu AS (SELECT DISTINCT * EXCLUDE modtaget_maaned FROM (FROM raw.bopael WHERE modtaget_maaned = DATE '2024-02-01')),
forskel AS ((FROM foer EXCEPT FROM nu) UNION ALL (FROM nu EXCEPT FROM foer)),
foerste AS (
    SELECT cpr, CASE
        WHEN count(*) = 2 AND count(*) FILTER (er_nu) = 1 AND min(kommunekode) = max(kommunekode)
        THEN min(coalesce(bopael_slut, DATE '9999-12-31')) ELSE bopael_start END AS fra
    FROM (SELECT *, false AS er_nu FROM foer UNION ALL SELECT *, true FROM nu)
    SEMI JOIN forskel USING (cpr, bopael_start) GROUP BY cpr, bopael_start
)
SELECT cpr, min(fra) AS fra FROM foerste GROUP BY cpr)
