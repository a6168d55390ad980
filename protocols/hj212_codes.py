"""What the codes of HJ 212 mean: commands, systems, results, marks of a value, fields, and the factors of an exhaust.

HJ 212-2017 tables 3 to 6 and B.2 with the codes of 2005 beside them. A code that is not here is kept as it came.
"""

from dataclasses import dataclass

COMMANDS = {
    "1000": "time limit and resends",
    "1011": "time of the device",
    "1012": "set the time",
    "1013": "time wanted",
    "1061": "real-time interval",
    "1062": "set the real-time interval",
    "1063": "minute interval",
    "1064": "set the minute interval",
    "1072": "set the password",
    "2011": "real-time data",
    "2012": "stop real-time data",
    "2021": "state of equipment",
    "2022": "stop the state of equipment",
    "2031": "day data",
    "2041": "day data of running times",
    "2051": "minute data",
    "2061": "hour data",
    "2081": "start of the data logger",
    "9011": "request answered",
    "9012": "result of a request",
    "9013": "notice answered",
    "9014": "data answered",
}

SYSTEMS = {
    "21": "surface water",
    "22": "air quality",
    "31": "stationary source, air",
    "32": "stationary source, water",
    "39": "dust of a site",
    "51": "process of flue-gas treatment",
    "52": "process of water treatment",
    "91": "exchange between systems",
}
"""ST. Air factors are met under 32."""

REQUEST_ANSWERS = {
    "1": "ready",
    "2": "rejected",
    "3": "wrong PW",
    "4": "wrong MN",
    "5": "wrong ST",
    "6": "wrong Flag",
    "7": "wrong QN",
    "8": "wrong CN",
    "9": "wrong CRC",
    "100": "unknown error",
}
"""QnRtn of 9011."""

RESULTS = {
    "1": "done",
    "2": "failed",
    "3": "conditions not met",
    "4": "time limit",
    "5": "busy",
    "6": "fault",
    "100": "no data",
}
"""ExeRtn of 9012."""

MARKS = {
    "N": "normal",
    "F": "stopped",
    "M": "maintenance",
    "S": "set by hand",
    "D": "fault",
    "C": "calibrating",
    "T": "over range",
    "B": "no link to the instrument",
}
"""The mark of a value, in the order in which a status point numbers them: N is 0, and only N counts."""
UNKNOWN_MARK, UNMARKED = 8, 9
"""The status of a value with a mark that is none of these, and of one that came without a mark."""

FIELDS = {
    "Rtd": "real-time",
    "Min": "least",
    "Avg": "mean",
    "Max": "most",
    "Cou": "total",
    "ZsRtd": "real-time, folded",
    "ZsMin": "least, folded",
    "ZsAvg": "mean, folded",
    "ZsMax": "most, folded",
    "Flag": "mark",
    "EFlag": "mark of the instrument",
    "SampleTime": "sampled at",
}
FOLDED = ("ZsRtd", "ZsMin", "ZsAvg", "ZsMax")
"""Converted to a reference oxygen: for limits on concentrations alone, never for a mass."""
TOTAL = "Cou"


@dataclass(frozen=True, slots=True)
class Factor:
    """A thing that is measured: its code, the one of 2005 (empty: none known), the units of its values and totals."""

    code: str
    old: str
    name: str
    unit: str
    total: str = ""


FACTORS = (
    Factor("a00000", "B02", "exhaust gas", "m3/s", "m3"),
    Factor("a01001", "", "air temperature", "°C"),
    Factor("a01002", "", "air humidity", "%"),
    Factor("a01006", "", "air pressure", "kPa"),
    Factor("a01010", "", "Ringelmann number", "1"),
    Factor("a01011", "S02", "flue gas velocity", "m/s"),
    Factor("a01012", "S03", "flue gas temperature", "°C"),
    Factor("a01013", "S08", "flue gas pressure", "kPa"),
    Factor("a01014", "S05", "flue gas moisture", "%"),
    Factor("a01016", "S07", "area of the duct", "m2"),
    Factor("a01017", "S04", "dynamic pressure", "kPa"),
    Factor("a05001", "30", "carbon dioxide", "mg/m3", "kg"),
    Factor("a05002", "", "methane", "mg/m3", "kg"),
    Factor("a19001", "S01", "oxygen", "%"),
    Factor("a21001", "10", "ammonia", "mg/m3", "kg"),
    Factor("a21002", "03", "nitrogen oxides", "mg/m3", "kg"),
    Factor("a21003", "", "nitric oxide", "mg/m3", "kg"),
    Factor("a21004", "", "nitrogen dioxide", "mg/m3", "kg"),
    Factor("a21005", "04", "carbon monoxide", "mg/m3", "kg"),
    Factor("a21018", "06", "hydrogen fluoride", "mg/m3", "kg"),
    Factor("a21024", "08", "hydrogen chloride", "mg/m3", "kg"),
    Factor("a21026", "02", "sulphur dioxide", "mg/m3", "kg"),
    Factor("a24088", "", "non-methane hydrocarbons", "mg/m3", "kg"),
    Factor("a34013", "01", "dust", "mg/m3", "kg"),
)
"""The units are those of the standard; sites send others, which their site file must say."""

_BY_CODE = {factor.code: factor for factor in FACTORS} | {factor.old: factor for factor in FACTORS if factor.old}


def factor(code: str) -> Factor | None:
    """The factor of a code, new or of 2005; None when it is not known here."""
    return _BY_CODE.get(code)


def mark(texts: tuple[str, ...]) -> int:
    """The number of a value's mark, out of what the packet says of it; contradicting marks are an unknown one."""
    if not texts:
        return UNMARKED
    order = list(MARKS)
    return order.index(texts[0]) if len(texts) == 1 and texts[0] in MARKS else UNKNOWN_MARK
