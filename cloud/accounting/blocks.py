"""The blocks that every guideline is a sum of: some three dozen formulas, each with its symbols and their units."""

from collections.abc import Mapping
from decimal import Decimal

from cloud.accounting.block import ITEM, Block, Kind, Slot
from cloud.accounting.expression import CARBON_TO_CO2, Expression, Least, Symbol, constant
from protocols.errors import MethodError


def _activity(name: str, units: str, zh: str, en: str, default: str | None = None) -> Slot:
    return Slot(name, "activity", tuple(units.split()), zh, en, default=None if default is None else Decimal(default))


def _parameter(name: str, units: str, zh: str, en: str, default: str | None = None) -> Slot:
    return Slot(name, "parameter", tuple(units.split()), zh, en, default=None if default is None else Decimal(default))


def _bounded(name: str, units: str, zh: str, en: str, high: str) -> Slot:
    """A parameter that is a slip of its unit above ``high`` (of the coherent unit)."""
    return Slot(name, "parameter", tuple(units.split()), zh, en, high=Decimal(high))


def _fraction(name: str, zh: str, en: str, default: str | None = None, kind: Kind = "parameter") -> Slot:
    own = None if default is None else Decimal(default)
    return Slot(name, kind, ("1",), zh, en, high=Decimal(1), default=own)


class _Symbols(dict[str, Symbol]):
    """Each symbol as it is first written."""

    def __missing__(self, name: str) -> Symbol:
        return self.setdefault(name, Symbol(name))


_ = _Symbols()
_1 = constant("1")
_CARBON_AS_MASS = constant("44/12", "tCO2/t")
"""CO2 of a tonne that is carbon through and through (coke on a catalyst, urea's share)."""
_CO2_DENSITY = constant("19.7", "tCO2/1e4Nm3")
_CH4_DENSITY = constant("7.17", "tCH4/1e4Nm3")


def _block(name: str, zh: str, en: str, gas: str | None, formula: Expression, *slots: Slot) -> Block:
    return Block(name, zh, en, gas, formula, slots)


_BLOCKS = (
    _block(
        "FUEL", "化石燃料燃烧", "combustion of a fossil fuel", "CO2",
        _["FC"] * _["NCV"] * _["CC"] * _["OF"] * CARBON_TO_CO2,
        _activity("FC", "t 1e4Nm3", "燃料消耗量", "fuel consumed"),
        _bounded("NCV", "GJ/t GJ/1e4Nm3", "低位发热量", "net calorific value", "125"),
        _bounded("CC", "tC/GJ", "单位热值含碳量", "carbon per heat", "0.08"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "FUEL-VOLUME", "按体积计量的液体燃料", "a liquid fuel measured by volume", "CO2",
        _["V"] * _["rho"] * _["NCV"] * _["CC"] * _["OF"] * CARBON_TO_CO2,
        _activity("V", "m3", "燃料体积", "volume of fuel"),
        _parameter("rho", "t/m3", "燃料密度", "density of the fuel"),
        _bounded("NCV", "GJ/t", "低位发热量", "net calorific value", "125"),
        _bounded("CC", "tC/GJ", "单位热值含碳量", "carbon per heat", "0.08"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "CARBON", "含碳物料", "carbon in a material or fuel", "CO2",
        _["AD"] * _["CC"] * _["OF"] * CARBON_TO_CO2,
        _activity("AD", "t 1e4Nm3", "物料量", "amount"),
        _parameter("CC", "tC/t tC/1e4Nm3", "含碳量", "carbon content"),
        _fraction("OF", "氧化率", "share that becomes CO2", "1"),
    ),
    _block(
        "CARBON-NCV", "以热值估算含碳量的物料", "carbon of a material by its heat", "CO2",
        _["AD"] * _["NCV"] * _["CC"] * CARBON_TO_CO2,
        _activity("AD", "t 1e4Nm3", "物料量", "amount"),
        _bounded("NCV", "GJ/t GJ/1e4Nm3", "低位发热量", "net calorific value", "125"),
        _bounded("CC", "tC/GJ", "单位热值含碳量", "carbon per heat", "0.08"),
    ),
    _block(
        "BLEND", "掺混生物质燃料的化石部分", "fossil part of a fuel blended with biofuel", "CO2",
        _["FC"] * _["NCV"] * (_1 - _["bio"]) * _["CC"] * _["OF"] * CARBON_TO_CO2,
        _activity("FC", "t", "混合燃料消耗量", "blended fuel consumed"),
        _bounded("NCV", "GJ/t", "低位发热量", "net calorific value", "125"),
        _fraction("bio", "生物质含量", "share of biofuel", kind="activity"),
        _bounded("CC", "tC/GJ", "单位热值含碳量", "carbon per heat", "0.08"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "WASTE-FUEL", "替代燃料的非生物质碳", "fossil part of an alternative fuel", "CO2",
        _["Q"] * _["HV"] * _["EF"] * _["share"],
        _activity("Q", "t", "消耗量", "consumed"),
        _parameter("HV", "GJ/t", "低位发热量", "net calorific value"),
        _parameter("EF", "tCO2/GJ", "单位热值排放因子", "emission per heat"),
        _fraction("share", "非生物质碳比例", "fossil share of the carbon"),
    ),
    _block(
        "AMOUNT", "活动数据 × 排放因子", "amount times factor", None,
        _["AD"] * _["EF"],
        _activity("AD", "t MWh 1e4Nm3 m3 km each t·km m2", "活动数据", "activity"),
        _parameter(
            "EF", "t{gas}/t t{gas}/MWh t{gas}/1e4Nm3 t{gas}/m3 mg{gas}/km t{gas}/each t{gas}/t·km t{gas}/m2",
            "排放因子", "emission factor",
        ),
    ),
    _block(
        "COUNTED", "设施数量 × 年排放因子", "number of facilities, factor of a year, time", None,
        _["n"] * _["EF"] * _["T"],
        _activity("n", "each", "设施数量", "facilities"),
        _parameter("EF", "t{gas}/each/a", "每个设施的年排放因子", "emission of a facility in a year"),
        _activity("T", "a", "核算期占一年的比例", "share of the year (days of the period / days of the year)"),
    ),
    _block(
        "ABATED", "带减排装置的过程", "process with abatement", None,
        _["AD"] * _["EF"] * (_1 - _["eta"] * _["mu"]),
        _activity("AD", "t", "产量", "output"),
        _parameter("EF", "t{gas}/t", "生成因子", "generation factor"),
        _fraction("eta", "去除效率", "abatement efficiency", "0"),
        _fraction("mu", "减排装置使用率", "share of the run time of the abatement", "0"),
    ),
    _block(
        "HEAT", "热量或冷量", "heat or cold", "CO2",
        _["AD"] * _["EF"],
        _activity("AD", "GJ", "热量", "heat"),
        _parameter("EF", "tCO2/GJ", "热力排放因子", "emission factor of heat"),
    ),
    _block(
        "HEAT-WATER", "外购热水", "purchased hot water", "CO2",
        _["Ma"] * (_["T"] - constant("20", "℃")) * constant("4.1868", "kJ/kg/K") * _["EF"],
        _activity("Ma", "t", "热水质量", "mass of water"),
        _activity("T", "℃", "热水温度", "temperature of the water"),
        _parameter("EF", "tCO2/GJ", "热力排放因子", "emission factor of heat"),
    ),
    _block(
        "HEAT-STEAM", "外购蒸汽", "purchased steam", "CO2",
        _["Ma"] * (_["En"] - constant("83.74", "kJ/kg")) * _["EF"],
        _activity("Ma", "t", "蒸汽质量", "mass of steam"),
        _activity("En", "kJ/kg", "蒸汽热焓", "enthalpy of the steam"),
        _parameter("EF", "tCO2/GJ", "热力排放因子", "emission factor of heat"),
    ),
    _block(
        "CARB", "碳酸盐分解", "decomposition of a carbonate", "CO2",
        _["AD"] * _["PUR"] * _["EF"] * _["F"],
        _activity("AD", "t", "碳酸盐消耗量", "carbonate consumed"),
        _fraction("PUR", "纯度", "purity", "1"),
        _parameter("EF", "tCO2/t", "碳酸盐排放因子", "emission factor of the carbonate"),
        _fraction("F", "煅烧比例", "share calcined", "1"),
    ),
    _block(
        "GAS", "气体体积 × 浓度 × 密度", "volume, concentration and density of a gas", None,
        _["Q"] * _["V"] * _["share"] * _["rho"],
        _activity("Q", "1e4Nm3", "气体体积", "volume of gas"),
        _fraction("V", "体积浓度", "concentration by volume", kind="activity"),
        _fraction("share", "计入比例", "share that counts", "1"),
        _parameter("rho", "t{gas}/1e4Nm3", "密度", "density at 0 ℃"),
    ),
    _block(
        "GAS-FLOW", "气体流量 × 时间 × 浓度 × 密度", "flow, time, concentration and density of a gas", None,
        _["Q"] * _["T"] * _["V"] * _["share"] * _["rho"],
        _activity("Q", "Nm3/min", "平均流量", "mean flow"),
        _activity("T", "d", "运行时间", "how long"),
        _fraction("V", "体积浓度", "concentration by volume", kind="activity"),
        _fraction("share", "计入比例", "share that counts", "1"),
        _parameter("rho", "t{gas}/1e4Nm3", "密度", "density at 0 ℃"),
    ),
    _block(
        "COAL-GAS", "煤炭产量 × 含气量 × 密度", "coal, gas content and density", None,
        _["AD"] * _["q"] * _["rho"],
        _activity("AD", "t", "原煤产量", "raw coal"),
        _parameter("q", "Nm3/t Sm3/t", "吨煤瓦斯涌出量", "gas set free by a tonne"),
        _parameter("rho", "t{gas}/1e4Nm3 kg{gas}/Sm3", "密度（与体积同一状态）", "density in the state of the volume"),
    ),
    _block(
        "LOST", "外购气体的损耗", "a purchased gas that is lost", None,
        _["AD"] * _["share"],
        _activity("AD", "t{gas}", "外购使用量", "purchased and used"),
        _fraction("share", "损耗比例", "share lost"),
    ),
    _block(
        "WASTEWATER", "废水厌氧处理", "anaerobic treatment of waste water", "CH4",
        (_["W"] * (_["COD_in"] - _["COD_out"]) - _["S"]) * _["Bo"] * _["MCF"] - _["R"],
        _activity("W", "m3", "废水量", "waste water"),
        _activity("COD_in", "kgCOD/m3", "进口 COD 浓度", "COD at the inlet"),
        _activity("COD_out", "kgCOD/m3", "出口 COD 浓度", "COD at the outlet"),
        _activity("S", "kgCOD", "以污泥形式去除的 COD", "COD taken out as sludge", "0"),
        _parameter("Bo", "kgCH4/kgCOD", "甲烷最大生产能力", "greatest yield of methane"),
        _fraction("MCF", "甲烷修正因子", "methane correction factor"),
        _activity("R", "kgCH4", "甲烷回收量", "methane recovered", "0"),
    ),
    _block(
        "FLARE-CO2", "火炬燃烧 CO2", "CO2 of a flare", "CO2",
        _["Q"] * (_["CC"] * _["OF"] * CARBON_TO_CO2 + _["V_CO2"] * _CO2_DENSITY),
        _activity("Q", "1e4Nm3", "火炬气量", "gas flared"),
        _parameter("CC", "tC/1e4Nm3", "除 CO2 外的含碳量", "carbon other than of CO2"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
        _fraction("V_CO2", "CO2 体积浓度", "CO2 by volume", "0"),
    ),
    _block(
        "FLARE-CH4", "火炬未燃甲烷", "methane that a flare leaves", "CH4",
        _["Q"] * _["V_CH4"] * (_1 - _["OF"]) * _CH4_DENSITY,
        _activity("Q", "1e4Nm3", "火炬气量", "gas flared"),
        _fraction("V_CH4", "CH4 体积浓度", "methane by volume", kind="activity"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "FLARE-ACCIDENT", "事故火炬", "a flare in an accident", "CO2",
        _["Q"] * _["h"] * _["n"] * _["OF"] * constant("44/22.4", "kgCO2/Nm3"),
        _activity("Q", "1e4Nm3/h", "平均流量", "mean flow"),
        _activity("h", "h", "持续时间", "how long"),
        _parameter("n", "1", "平均摩尔含碳数", "moles of carbon in a mole of gas"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "LEAK", "设备容量减回收", "charge less what was recovered", ITEM,
        _["charged"] - _["recovered"],
        _activity("charged", "kg", "设备额定容量", "charge of the equipment"),
        _activity("recovered", "kg", "实际回收量", "recovered", "0"),
    ),
    _block(
        "STOCK", "库存平衡法泄漏", "leak by balance of stocks", ITEM,
        _["opening"] - _["closing"] + _["bought"] - _["sold"],
        _activity("opening", "kg", "期初库存", "stock at the opening"),
        _activity("closing", "kg", "期末库存", "stock at the close"),
        _activity("bought", "kg", "期内购入", "bought"),
        _activity("sold", "kg", "期内充入产品外售", "shipped in products", "0"),
    ),
    _block(
        "CONNECTIONS", "充装接头逸散", "loss at filling connections", ITEM,
        _["n"] * _["k"] * _["M"],
        _activity("n", "each", "接头操作次数", "connections made"),
        _parameter("k", "mol/each", "每次接头逸散量", "loss at a connection"),
        _parameter("M", "g/mol", "气体摩尔质量", "molar mass of the gas"),
    ),
    _block(
        "CHARGE-LIFE", "制冷剂充注量按寿命分摊", "charge of a refrigerant spread over its life", ITEM,
        _["m"] * _["t"] / _["y"],
        _activity("m", "kg", "设备制冷剂充注量", "charge of the equipment"),
        _activity("t", "a", "核算时间", "time accounted for"),
        _parameter("y", "a", "设备使用寿命", "life of the equipment"),
    ),
    _block(
        "FUGITIVE", "产量 × 逸散因子", "output times the share that escapes", ITEM,
        _["AD"] * _["EF"],
        _activity("AD", "t", "产量", "output"),
        _fraction("EF", "副产及逃逸因子", "share that escapes"),
    ),
    _block(
        "BYPRODUCT", "副产气体减回收与销毁", "by-product gas less what was recovered and destroyed", None,
        _["AD"] * _["EF"] - _["recovered"] - _["destroyed"],
        _activity("AD", "t", "主产品产量", "output of the main product"),
        _parameter("EF", "t{gas}/t", "生成因子", "generation factor"),
        _activity("recovered", "t{gas}", "回收量", "recovered", "0"),
        _activity("destroyed", "t{gas}", "销毁量", "destroyed", "0"),
    ),
    _block(
        "HFC23-DESTROYED", "HFC-23 销毁生成的 CO2", "CO2 of destroyed HFC-23", "CO2",
        _["AD"] * constant("44/70", "tCO2/tHFC-23"),
        _activity("AD", "tHFC-23", "HFC-23 销毁量", "HFC-23 destroyed"),
    ),
    _block(
        "SHIELD-GAS", "保护焊 CO2", "CO2 of shielding gas", "CO2",
        _["W"] * _["P"] * constant("44", "gCO2/mol")
        / (_["P"] * constant("44", "g/mol") + (_1 - _["P"]) * _["M"]),
        _activity("W", "t", "保护气净使用量", "shielding gas used"),
        _fraction("P", "CO2 体积分数", "CO2 by volume", kind="activity"),
        _parameter("M", "g/mol", "其余气体的平均摩尔质量", "mean molar mass of the other gases"),
    ),
    _block(
        "ETCH", "刻蚀与清洗气体未反应部分", "gas of etching and cleaning that did not react", ITEM,
        (_1 - _["h"]) * _["FC"] * (_1 - _["U"]) * (_1 - _["a"] * _["d"]),
        _activity("FC", "kg", "气体使用量", "gas used"),
        _fraction("h", "容器残余比例", "heel left in the container"),
        _fraction("U", "利用率", "share used up"),
        _fraction("a", "废气处理装置收集效率", "share led to abatement", "0"),
        _fraction("d", "废气处理装置去除效率", "share that abatement destroys", "0"),
    ),
    _block(
        "ETCH-BYPRODUCT", "刻蚀副产物", "by-product of etching", None,
        (_1 - _["h"]) * _["B"] * _["FC"] * (_1 - _["a"] * _["d"]),
        _activity("FC", "kg", "原料气使用量", "gas used"),
        _fraction("h", "容器残余比例", "heel left in the container"),
        _parameter("B", "kg{gas}/kg", "副产物转化因子", "by-product made"),
        _fraction("a", "废气处理装置对副产物的收集效率", "share of the by-product led to abatement", "0"),
        _fraction("d", "废气处理装置对副产物的去除效率", "share of the by-product that abatement destroys", "0"),
    ),
    _block(
        "CLINKER", "熟料碳酸盐（CaO/MgO 法）", "carbonates of clinker by CaO and MgO", "CO2",
        _["M"] * (
            (_["CaO"] - _["CaO_nc"]) * constant("44/56", "tCO2/t")
            + (_["MgO"] - _["MgO_nc"]) * constant("44/40", "tCO2/t")
        ),
        _activity("M", "t", "熟料、窑头粉尘或旁路粉尘量", "clinker, kiln dust or bypass dust"),
        _fraction("CaO", "CaO 含量", "CaO content", kind="activity"),
        _fraction("CaO_nc", "非碳酸盐 CaO 含量", "CaO that was no carbonate", "0", "activity"),
        _fraction("MgO", "MgO 含量", "MgO content", kind="activity"),
        _fraction("MgO_nc", "非碳酸盐 MgO 含量", "MgO that was no carbonate", "0", "activity"),
    ),
    _block(
        "CERAMIC", "陶瓷原料碳酸盐", "carbonates of ceramic raw material", "CO2",
        _["M"] * _["eta"] * (
            _["CaCO3"] * constant("44/100", "tCO2/t") + _["MgCO3"] * constant("44/84", "tCO2/t")
        ),
        _activity("M", "t", "原料量", "raw material"),
        _fraction("eta", "原料利用率", "share of the raw material used"),
        _fraction("CaCO3", "CaCO3 含量", "CaCO3 content", kind="activity"),
        _fraction("MgCO3", "MgCO3 含量", "MgCO3 content", kind="activity"),
    ),
    _block(
        "ANODE", "炭阳极消耗", "consumption of the carbon anode", "CO2",
        _["P"] * _["NC"] * (_1 - _["S"] - _["A"]) * CARBON_TO_CO2,
        _activity("P", "t", "铝产量", "aluminium made"),
        _parameter("NC", "tC/t", "吨铝阳极净耗", "net consumption of anode"),
        _fraction("S", "含硫量", "sulphur"),
        _fraction("A", "灰分", "ash"),
    ),
    _block(
        "ANODE-GROSS", "炭阳极消耗（毛耗与残极）", "carbon anode by what was set and came back", "CO2",
        _["G"] * (_1 - _["L"]) * (_1 - _["S"] - _["A"]) * _CARBON_AS_MASS,
        _activity("G", "t", "阳极毛耗量", "anode set into the pots"),
        _fraction("L", "残极率", "share that comes back as butts"),
        _fraction("S", "含硫量", "sulphur"),
        _fraction("A", "灰分", "ash"),
    ),
    _block(
        "SLOPE", "阳极效应（斜率法）", "anode effect by the slope", None,
        _["P"] * _["k"] * _["AEM"] * _["w"],
        _activity("P", "t", "铝产量", "aluminium made"),
        _parameter("k", "kgCF4/t/min", "CF4 斜率", "slope of CF4"),
        _activity("AEM", "min", "每槽日阳极效应分钟", "minutes of anode effect a pot day"),
        _parameter("w", "kg{gas}/kgCF4", "与 CF4 的质量比", "mass made with a mass of CF4", "1"),
    ),
    _block(
        "UREA", "尾气净化尿素", "urea for exhaust gas", "CO2",
        _["M"] * constant("12/60", "tC/t") * _["P"] * CARBON_TO_CO2,
        _activity("M", "kg", "尿素添加剂消耗量", "additive consumed"),
        _fraction("P", "尿素质量分数", "urea by mass"),
    ),
    _block(
        "INCINERATION", "废弃物焚烧的化石碳", "fossil carbon of incinerated waste", "CO2",
        _["IW"] * _["CCW"] * _["FCF"] * _["EF"] * CARBON_TO_CO2,
        _activity("IW", "t", "焚烧量", "waste incinerated"),
        _parameter("CCW", "tC/t", "废弃物含碳量", "carbon content of the waste"),
        _fraction("FCF", "化石碳占总碳比例", "fossil share of the carbon"),
        _fraction("EF", "燃烧效率", "efficiency of combustion"),
    ),
    _block(
        "LANDFILL", "填埋甲烷（质量平衡法）", "methane of a landfill by mass balance", "CH4",
        (_["MSW"] * _["MCF"] * _["DOC"] * _["DOCf"] * _["F"] * constant("16/12", "tCH4/tC") - _["R"])
        * (_1 - _["OX"]),
        _activity("MSW", "t", "填埋量", "waste put down"),
        _fraction("MCF", "甲烷修正因子", "methane correction factor"),
        _parameter("DOC", "tC/t", "可降解有机碳含量", "degradable organic carbon"),
        _fraction("DOCf", "可降解有机碳分解比例", "share of it that degrades"),
        _fraction("F", "填埋气中 CH4 比例", "share of methane in the gas"),
        _activity("R", "tCH4", "甲烷回收量", "methane recovered", "0"),
        _fraction("OX", "氧化因子", "share oxidised in the cover", "0"),
    ),
    _block(
        "REGENERATION", "催化剂间歇烧焦", "batch regeneration of a catalyst", "CO2",
        _["Q"] * (_1 - _["c1"]) * (_["c1"] / (_1 - _["c1"]) - _["c2"] / (_1 - _["c2"])) * _["OF"] * _CARBON_AS_MASS,
        _activity("Q", "t", "待再生催化剂量", "catalyst to regenerate"),
        _fraction("c1", "再生前含碳量", "carbon before", kind="activity"),
        _fraction("c2", "再生后含碳量", "carbon after", kind="activity"),
        _fraction("OF", "碳氧化率", "oxidation fraction"),
    ),
    _block(
        "DECOKING", "乙烯裂解炉清焦", "decoking of an ethylene furnace", "CO2",
        _["Q"] * _["T"] * (_["V_CO2"] + _["CO"]) * _CO2_DENSITY,
        _activity("Q", "Nm3/h", "尾气平均流量", "mean flow of the exhaust"),
        _activity("T", "h", "清焦时间", "time of decoking"),
        _fraction("V_CO2", "尾气 CO2 体积浓度", "CO2 by volume", kind="activity"),
        _fraction("CO", "尾气 CO 体积浓度", "CO by volume", kind="activity"),
    ),
    _block(
        "GRID-LOSS", "输配电损失", "losses of transmission and distribution", "CO2",
        (_["EL_in"] + _["EL_import"] - _["EL_export"] - _["EL_sold"]) * _["EF"],
        _activity("EL_in", "MWh", "上网电量", "fed in"),
        _activity("EL_import", "MWh", "外省输入电量", "from other grids", "0"),
        _activity("EL_export", "MWh", "外省输出电量", "to other grids", "0"),
        _activity("EL_sold", "MWh", "售电量", "sold"),
        _parameter("EF", "tCO2/MWh", "电网排放因子", "grid factor"),
    ),
    _block(
        "GREEN", "有凭证的绿电", "green power with proof", "CO2",
        Least(_["proved"], _["purchased"]) * _["EF"],
        _activity("proved", "MWh", "有凭证的绿电量", "green power proved"),
        _activity("purchased", "MWh", "同期外购电量", "electricity purchased in the same time"),
        _parameter("EF", "tCO2/MWh", "电网排放因子", "grid factor"),
    ),
)  # fmt: skip
BLOCKS: Mapping[str, Block] = {block.id: block for block in _BLOCKS}


def block(name: str) -> Block:
    """The block of this id; MethodError lists them where there is none."""
    if name not in BLOCKS:
        raise MethodError(f"block: found {name!r}, expected one of {', '.join(BLOCKS)}")
    return BLOCKS[name]
